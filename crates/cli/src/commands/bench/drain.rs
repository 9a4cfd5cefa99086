//! Waiting until what was accepted is completed.

use std::time::Duration;

use tokio::time::sleep;

use super::clock::now;
use super::run::Run;

/// How waiting went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drained {
    pub(super) jobs: u64,
    /// Until 99 of 100 were completed: the last few may have waited for leases to run out.
    pub(super) most: Duration,
    /// Until the last of them was.
    pub(super) all: Duration,
}

/// Waits until everything accepted is completed, but for a backlog that stays, or nothing has moved for `patience`.
pub(super) async fn drain(run: &Run, backlog: u64, patience: Duration) -> Drained {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let (start, wanted) = (now(), run.open().saturating_sub(backlog));
    let (mut drained, mut moved) = (Drained::default(), now());
    while run.open() > backlog && moved.elapsed() < patience {
        sleep(LOOK_EVERY).await;
        let jobs = wanted.saturating_sub(run.open().saturating_sub(backlog));
        if jobs != drained.jobs {
            moved = now();
            (drained.jobs, drained.all) = (jobs, start.elapsed());
        }
        if jobs * 100 < wanted * 99 {
            drained.most = start.elapsed();
        }
    }
    drained
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::v1;

    #[tokio::test]
    async fn backlog_that_stays_is_not_waited_for() {
        let run = Run::new("bench", 1);
        let accepted = v1::SubmitResult {
            result: Some(v1::submit_result::Result::Accepted(v1::Accepted::default())),
        };
        let numbers = run.take(3).unwrap();
        run.submitted(numbers, Ok(vec![accepted; 3]));
        let drained = drain(&run, 3, Duration::MAX).await;
        assert_eq!((drained.jobs, drained.all), (0, Duration::ZERO));
    }
}
