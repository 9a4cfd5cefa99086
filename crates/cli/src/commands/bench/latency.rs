//! How long jobs wait, in an open loop at a set rate.

use std::sync::Arc;

use serde::Serialize;

use super::Bench;
use super::args::LatencyArgs;
use super::backlog::work_off;
use super::checkpoints::{Seen, Watch};
use super::cost::Cost;
use super::counters::{Logged, logged};
use super::fill::fill;
use super::open_loop::{Measurements, OpenLoop, Shape};
use super::report::{Figures, Measured, spreads};
use super::run::Run;
use super::schedule::Pace;
use super::throughput::Window;
use super::times::Spread;
use crate::output::fields;

/// How long jobs waited. All but `result_ack` count from when a job was meant to be sent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyFigures {
    pub(crate) rate: u64,
    /// Those that were measured; what a job cost is over all, those of the warm-up included.
    pub(crate) jobs: u64,
    /// Until the job was really sent: the client's own lateness, in every figure below.
    pub(crate) sent_late: Option<Spread>,
    /// Until the submit was acknowledged.
    pub(crate) submit_ack: Option<Spread>,
    /// Until a worker had the job.
    pub(crate) dispatch: Option<Spread>,
    /// From handing the result in until it was acknowledged.
    pub(crate) result_ack: Option<Spread>,
    /// Until the result was acknowledged.
    pub(crate) whole: Option<Spread>,
    /// Only with jobs queued beside.
    pub(crate) beside: Option<BesideFigures>,
}

/// What jobs that are queued beside, and their checkpoints, do to the others.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BesideFigures {
    pub(crate) queued: u64,
    pub(crate) filled_per_s: f64,
    /// Times at which checkpoints were being written, one after the other or several at once.
    pub(crate) checkpoints: usize,
    /// Time spent on them, by all nodes together.
    pub(crate) writing_s: f64,
    /// Dispatch of jobs that waited at such a time.
    pub(crate) dispatch_during: Option<Spread>,
    /// Dispatch of all others.
    pub(crate) dispatch_else: Option<Spread>,
}

pub(super) async fn run(bench: &Bench, arguments: &LatencyArgs) -> anyhow::Result<Measured> {
    match arguments.queued {
        0 => alone(bench, arguments).await,
        queued => beside(bench, arguments, queued).await,
    }
}

async fn alone(bench: &Bench, arguments: &LatencyArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    let before = logged(&bench.target).await?;
    let (window, times) = open_loop(bench, &run, arguments).await?;
    let after = logged(&bench.target).await?;
    let figures = Figures::Latency(figures(arguments, &times, None));
    let cost = Cost::of(&window, (&before, &after), run.completed());
    Measured::after(bench, &[&run], figures, cost).await
}

/// The jobs that stay queued are in a queue of their own, in the same shards: otherwise those that are measured would
/// stand in line behind them. The loop begins at once, so that what is left of the filling is written in its time.
async fn beside(bench: &Bench, arguments: &LatencyArgs, queued: u64) -> anyhow::Result<Measured> {
    let (run, others) = (bench.new_run(), bench.new_run_beside().await?);
    bench.progress.say("filling the queue beside");
    let filled_per_s = fill(bench, &others, queued).await?;
    let watch = Watch::start(bench.target.counted()?);
    bench.progress.say("measuring");
    let (window, times) = open_loop(bench, &run, arguments).await?;
    let seen = watch.end().await?;
    bench.progress.say("working the queue off");
    work_off(bench, &others).await?;
    let beside = beside_figures(&seen, &times, (queued, filled_per_s));
    let figures = Figures::Latency(figures(arguments, &times, Some(beside)));
    // What the nodes' logs did is not told apart by queues.
    let unknown = (&Logged::default(), &Logged::unknown());
    let cost = Cost::of(&window, unknown, run.completed());
    Measured::after(bench, &[&run, &others], figures, cost).await
}

async fn open_loop(
    bench: &Bench,
    run: &Arc<Run>,
    arguments: &LatencyArgs,
) -> anyhow::Result<(Window, Measurements)> {
    let shape = Shape {
        connections: arguments.connections,
        slots: arguments.slots,
        is_traced: arguments.queued > 0,
    };
    let pace = Pace {
        rate: arguments.rate,
        warm_up: arguments.warm_up,
        measured: arguments.duration,
    };
    OpenLoop::start(bench, run, shape, pace)
        .await?
        .end(bench)
        .await
}

fn figures(
    arguments: &LatencyArgs,
    times: &Measurements,
    beside: Option<BesideFigures>,
) -> LatencyFigures {
    LatencyFigures {
        rate: arguments.rate,
        jobs: times.whole.count(),
        sent_late: times.sent_late.spread(),
        submit_ack: times.submit_ack.spread(),
        dispatch: times.dispatch.spread(),
        result_ack: times.result_ack.spread(),
        whole: times.whole.spread(),
        beside,
    }
}

fn beside_figures(seen: &Seen, times: &Measurements, filled: (u64, f64)) -> BesideFigures {
    let (dispatch_during, dispatch_else) = times.trace.by_touch(&seen.spans);
    BesideFigures {
        queued: filled.0,
        filled_per_s: filled.1,
        checkpoints: seen.spans.len(),
        writing_s: seen.writing.as_secs_f64(),
        dispatch_during,
        dispatch_else,
    }
}

impl LatencyFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let mut rows = vec![
            ("rate", format!("{} jobs/s", self.rate)),
            ("jobs", self.jobs.to_string()),
        ];
        let mut waits = vec![
            ("submit acknowledged", self.submit_ack),
            ("worker has it", self.dispatch),
            ("result acknowledged", self.whole),
            ("result to its acknowledgement", self.result_ack),
            ("(sent late by)", self.sent_late),
        ];
        if let Some(beside) = &self.beside {
            rows.push(("queued beside", beside.queued.to_string()));
            rows.push(("filled at", format!("{:.0} jobs/s", beside.filled_per_s)));
            let (times, seconds) = (beside.checkpoints, beside.writing_s);
            rows.push((
                "checkpoints",
                format!("{times} times, {seconds:.2} s in all"),
            ));
            waits.push(("worker has it, checkpoint", beside.dispatch_during));
            waits.push(("worker has it, none", beside.dispatch_else));
        }
        format!("{}\n\n{}", fields(&rows), spreads(&waits))
    }
}
