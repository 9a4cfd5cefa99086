//! Speed and memory with a long queue, against the same without, in one run on the same nodes.
//!
//! Without is measured twice, before and after: a machine that grows slower or faster meanwhile, as shared ones do, would
//! else be taken for what a long queue costs.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::Bench;
use super::args::BacklogArgs;
use super::cost::{Cost, Reading};
use super::counters::logged;
use super::drain::{Drained, drain};
use super::fill::fill;
use super::load::{Load, Plan};
use super::report::{Figures, Measured};
use super::run::Run;
use super::throughput::{Until, Window, as_f64, measure};
use crate::output::{fields, table};

/// How long the nodes are left alone before their memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// How the queue is worked off at the end.
const DRAIN: (usize, u32) = (16, 64);

/// What a backlog costs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BacklogFigures {
    pub(crate) empty: Level,
    pub(crate) full: Level,
    /// Once it is worked off.
    pub(crate) empty_again: Level,
    /// Speed with the backlog over the mean of both speeds without.
    pub(crate) ratio: f64,
    pub(crate) filled_per_s: f64,
    /// When all of it is worked off: over the first 99 of 100.
    pub(crate) drained_per_s: f64,
    /// Resident memory that came with the backlog, over all nodes, by its jobs.
    pub(crate) memory_bytes_per_job: Option<f64>,
    pub(crate) server_rss_before_bytes: Option<u64>,
    pub(crate) server_rss_filled_bytes: Option<u64>,
}

impl BacklogFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let row = |name: &str, level: &Level| {
            let cpu = level.server_cpu_us_per_job;
            vec![
                name.to_owned(),
                level.queued.to_string(),
                format!("{:.0}", level.jobs_per_s),
                cpu.map_or_else(String::new, |cpu| format!("{cpu:.1}")),
                format!("{:.1}", level.client_cpu_us_per_job),
            ]
        };
        let levels = table(
            &["", "queued", "jobs/s", "server us/job", "client us/job"],
            [
                row("empty", &self.empty),
                row("full", &self.full),
                row("empty again", &self.empty_again),
            ],
        );
        let memory = self.memory_bytes_per_job;
        let rest = fields(&[
            ("full against empty", format!("{:.3}", self.ratio)),
            ("filled at", format!("{:.0} jobs/s", self.filled_per_s)),
            ("worked off at", format!("{:.0} jobs/s", self.drained_per_s)),
            (
                "memory of a queued job",
                memory.map_or_else(|| "not known".to_owned(), |bytes| format!("{bytes:.0} B")),
            ),
        ]);
        format!("{levels}\n\n{rest}")
    }
}

/// The same loop at one length of the queue.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Level {
    pub(crate) queued: u64,
    pub(crate) jobs_per_s: f64,
    pub(crate) server_cpu_us_per_job: Option<f64>,
    pub(crate) client_cpu_us_per_job: f64,
}

pub(super) async fn run(bench: &Bench, arguments: &BacklogArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    let before = logged(&bench.target).await?;
    bench.progress.say("with an empty queue");
    let (empty, _) = level(bench, &run, arguments).await?;
    sleep(SETTLE).await;
    let low = resident(bench);
    bench.progress.say("filling the queue");
    let filled_per_s = fill(bench, &run, arguments.jobs).await?;
    sleep(SETTLE).await;
    let high = resident(bench);
    bench.progress.say("with a full queue");
    let (full, window) = level(bench, &run, arguments).await?;
    bench.progress.say("working the queue off");
    let drained = work_off(bench, &run).await?;
    bench.progress.say("with an empty queue again");
    let (empty_again, _) = level(bench, &run, arguments).await?;
    let after = logged(&bench.target).await?;
    let grown = low.zip(high).map(|(low, high)| high.saturating_sub(low));
    let figures = BacklogFigures {
        empty,
        full,
        empty_again,
        ratio: full.jobs_per_s / f64::midpoint(empty.jobs_per_s, empty_again.jobs_per_s).max(1e-9),
        filled_per_s,
        drained_per_s: 0.99 * as_f64(drained.jobs) / drained.most.as_secs_f64().max(1e-9),
        memory_bytes_per_job: grown.map(|bytes| as_f64(bytes) / as_f64(arguments.jobs)),
        server_rss_before_bytes: low,
        server_rss_filled_bytes: high,
    };
    let figures = Figures::Backlog(figures);
    let cost = Cost::of(&window, (&before, &after), run.completed());
    Measured::after(bench, &[&run], figures, cost).await
}

/// Resident memory of all nodes, in bytes; none where they are not the bench's own.
fn resident(bench: &Bench) -> Option<u64> {
    let server = Reading::of(&bench.target).server;
    server.map(|usage| usage.rss_bytes)
}

async fn level(
    bench: &Bench,
    run: &Arc<Run>,
    arguments: &BacklogArgs,
) -> anyhow::Result<(Level, Window)> {
    let plan = Plan {
        connections: arguments.connections,
        batch: arguments.batch,
        calls: bench.calls(),
        result: bench.result(),
        keeps_backlog: true,
        submits: true,
    };
    let queued = run.open();
    let until = Until::Elapsed(arguments.duration);
    let (window, _) = measure(bench, run, plan, arguments.warm_up, until).await?;
    let cost = Cost::of(&window, (&<_>::default(), &<_>::default()), window.jobs);
    let level = Level {
        queued,
        jobs_per_s: window.rate(),
        server_cpu_us_per_job: cost.server_cpu_us,
        client_cpu_us_per_job: cost.client_cpu_us,
    };
    Ok((level, window))
}

/// Completes everything that is queued.
pub(super) async fn work_off(bench: &Bench, run: &Arc<Run>) -> anyhow::Result<Drained> {
    let (connections, batch) = DRAIN;
    let plan = Plan {
        connections,
        batch,
        calls: bench.calls(),
        result: bench.result(),
        keeps_backlog: false,
        submits: false,
    };
    let mut load = Load::start(&bench.target, Arc::clone(run), plan).await?;
    let _watch = bench.progress.watch(run);
    let drained = tokio::select! {
        biased;
        error = load.broken() => return Err(error),
        drained = drain(run, 0, bench.patience()) => drained,
    };
    load.stop_work().await?;
    Ok(drained)
}
