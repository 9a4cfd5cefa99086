//! Whole jobs a second, in a closed loop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use tokio::time::sleep;

use super::Bench;
use super::args::ThroughputArgs;
use super::clock::now;
use super::cost::{Cost, Reading};
use super::counters::logged;
use super::drain::drain;
use super::load::{Load, Plan};
use super::report::{Figures, Measured, spreads};
use super::run::Run;
use super::times::{Spread, Times};
use crate::output::fields;

/// What a closed loop did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ThroughputFigures {
    pub(crate) jobs_per_s: f64,
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
    /// From sending a batch until all of it was acknowledged.
    pub(crate) submit_ack: Option<Spread>,
}

impl ThroughputFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let rate = fields(&[(
            "completed",
            format!(
                "{:.0} jobs/s ({} in {:.1} s)",
                self.jobs_per_s, self.jobs, self.seconds
            ),
        )]);
        let times = spreads(&[("submit of a batch acknowledged", self.submit_ack)]);
        format!("{rate}\n\n{times}")
    }
}

/// When a measurement ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    Elapsed(Duration),
    Completed(u64),
}

/// What was measured between two moments of a running loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) jobs: u64,
    pub(super) took: Duration,
    pub(super) before: Reading,
    pub(super) after: Reading,
}

impl Window {
    pub(super) fn rate(&self) -> f64 {
        as_f64(self.jobs) / self.took.as_secs_f64().max(1e-9)
    }
}

pub(super) async fn run(bench: &Bench, arguments: &ThroughputArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    let plan = Plan {
        connections: arguments.load.connections,
        batch: arguments.load.batch,
        calls: bench.calls(),
        result: bench.result(),
        keeps_backlog: false,
        submits: true,
    };
    let until = arguments
        .jobs
        .map_or(Until::Elapsed(arguments.duration), Until::Completed);
    let before = logged(&bench.target).await?;
    let (window, times) = measure(bench, &run, plan, arguments.warm_up, until).await?;
    let after = logged(&bench.target).await?;
    let figures = ThroughputFigures {
        jobs_per_s: window.rate(),
        jobs: window.jobs,
        seconds: window.took.as_secs_f64(),
        submit_ack: times.spread(),
    };
    let figures = Figures::Throughput(figures);
    let cost = Cost::of(&window, (&before, &after), run.completed());
    Measured::after(bench, &[&run], figures, cost).await
}

/// Runs a loop from its start until all that it added is completed, and measures a window of it.
pub(super) async fn measure(
    bench: &Bench,
    run: &Arc<Run>,
    plan: Plan,
    warm_up: Duration,
    until: Until,
) -> anyhow::Result<(Window, Times)> {
    let backlog = run.open();
    let mut load = Load::start(&bench.target, Arc::clone(run), plan).await?;
    let watch = bench.progress.watch(run);
    tokio::select! {
        biased;
        error = load.broken() => return Err(error),
        () = sleep(warm_up) => {}
    }
    load.begin_to_measure();
    let window = tokio::select! {
        biased;
        error = load.broken() => return Err(error),
        window = window(bench, run, until) => window?,
    };
    let times = load.stop_submits().await?;
    drain(run, backlog, bench.patience()).await;
    drop(watch);
    load.stop_work().await?;
    Ok((window, times))
}

async fn window(bench: &Bench, run: &Run, until: Until) -> anyhow::Result<Window> {
    let (before, start, already) = (Reading::of(&bench.target), now(), run.completed());
    match until {
        Until::Elapsed(span) => sleep(span).await,
        Until::Completed(jobs) => completed(run, already + jobs, bench.patience()).await?,
    }
    let (took, jobs) = (start.elapsed(), run.completed() - already);
    Ok(Window {
        jobs,
        took,
        before,
        after: Reading::of(&bench.target),
    })
}

/// Until so many are, as long as any are.
async fn completed(run: &Run, jobs: u64, patience: Duration) -> anyhow::Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    let (mut seen, mut moved) = (run.completed(), now());
    while seen < jobs {
        sleep(LOOK_EVERY).await;
        let so_far = run.completed();
        if so_far > seen {
            (seen, moved) = (so_far, now());
        } else if moved.elapsed() > patience {
            let errors = run.errors();
            bail!("nothing was completed for {patience:?}: {errors:?}");
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cluster_that_completes_nothing_is_given_up() {
        let run = Run::new("bench", 1);
        let waited = completed(&run, 1, Duration::ZERO).await;
        assert!(
            waited
                .unwrap_err()
                .to_string()
                .contains("nothing was completed")
        );
        assert!(completed(&run, 0, Duration::ZERO).await.is_ok());
    }
}
