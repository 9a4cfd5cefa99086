//! Filling a queue as fast as it takes jobs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Bench;
use super::clock::now;
use super::run::Run;
use super::throughput::as_f64;
use super::wire::Submitter;

const CONNECTIONS: usize = 16;
/// Jobs of one submit, and most bytes of their payloads.
const BATCH: (u64, usize) = (64, 1024 * 1024);
/// How long nothing at all may be accepted before filling is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Queues so many jobs, and returns how many a second were accepted.
///
/// # Errors
/// When a connection breaks, or the cluster takes no more: what it answered is in the run's errors.
pub(super) async fn fill(bench: &Bench, run: &Arc<Run>, jobs: u64) -> anyhow::Result<f64> {
    let left = Arc::new(AtomicU64::new(jobs));
    let batch = batch(bench.job.payload);
    let mut tasks = JoinSet::new();
    let mut lines = Vec::new();
    for at in 0..CONNECTIONS {
        let (address, calls) = (bench.target.endpoint(at), bench.calls());
        let line = Submitter::open(address, run.queue(), calls).await?;
        run.mints_in(line.slices);
        lines.push(line);
    }
    let _watch = bench.progress.watch(run);
    let (start, already) = (now(), run.accepted());
    for line in lines {
        tasks.spawn(submit(line, Arc::clone(run), Arc::clone(&left), batch));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(as_f64(run.accepted() - already) / start.elapsed().as_secs_f64().max(1e-9))
}

fn batch(payload: usize) -> u64 {
    let (jobs, bytes) = BATCH;
    jobs.min((bytes / payload.max(1)) as u64).max(1)
}

/// What was refused is put back and submitted as another job.
async fn submit(
    mut line: Submitter,
    run: Arc<Run>,
    left: Arc<AtomicU64>,
    batch: u64,
) -> anyhow::Result<()> {
    let mut moved = now();
    while let Some(jobs) = take(&left, batch) {
        let numbers = run.take(jobs).context("more jobs than a run can have")?;
        line.send(numbers.start, run.jobs(line.slices, numbers.clone()));
        let (_number, answer) = line.answered().await.context("filling the queue")?;
        let taken = run.submitted(numbers, answer);
        left.fetch_add(jobs - taken.accepted, Ordering::Relaxed);
        if taken.accepted > 0 {
            moved = now();
        } else if moved.elapsed() > PATIENCE {
            let errors = run.errors();
            bail!("the cluster takes no more jobs: {errors:?}");
        }
        if let Some(wait) = taken.wait {
            sleep(wait).await;
        }
    }
    Ok(())
}

/// The next so many; none once all are taken.
fn take(left: &AtomicU64, batch: u64) -> Option<u64> {
    let rest = |left: u64| (left > 0).then(|| left.saturating_sub(batch));
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
    before.ok().map(|before| before.min(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_so_many_are_taken_whatever_the_batch() {
        let left = AtomicU64::new(130);
        let taken: Vec<u64> = std::iter::from_fn(|| take(&left, 64)).collect();
        assert_eq!(taken, [64, 64, 2]);
    }

    #[test]
    fn batch_of_large_jobs_is_smaller_and_never_none() {
        assert_eq!(batch(1024), 64);
        assert_eq!(batch(64 * 1024), 16);
        assert_eq!(batch(0), 64);
    }
}
