//! SIGKILL to every node under load, a new start on the same data, and a look for every job.
//!
//! A kill keeps what the kernel has buffered: this shows what a crashed process costs, not what a lost power supply
//! does to a disk that lies.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use leasehold_client::Address;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::args::RecoveryArgs;
use super::backlog::work_off;
use super::clock::now;
use super::confirm::confirm;
use super::cost::{Cost, Reading};
use super::counters::logged;
use super::fill::fill;
use super::load::{Load, Plan};
use super::report::{Figures, Measured};
use super::run::{Run, session};
use super::throughput::Window;
use super::wire::{Calls, Heard, Submitter, Worker};
use crate::output::fields;

/// The load that the kill comes in the middle of: connections and batch.
pub(super) const LOAD: (usize, u32) = (8, 1);
/// How long connections may take to notice that their node is gone.
const COLLAPSE: Duration = Duration::from_secs(5);
/// Between two tries to be served again.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// Longest that a start may take until it serves.
const SERVES_WITHIN: Duration = Duration::from_secs(300);

/// How a start after a kill went. Times count from starting the processes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct RecoveryFigures {
    pub(crate) filled_per_s: f64,
    /// Acknowledged and not known to have ended, at the kill.
    pub(crate) queued: u64,
    pub(crate) first_submit_s: f64,
    pub(crate) first_lease_s: f64,
    /// Until 99 of 100 queued jobs were completed.
    pub(crate) most_drained_s: f64,
    /// Until the last job was completed; those leased at the kill have to wait for their leases to run out.
    pub(crate) drained_s: f64,
}

impl RecoveryFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let seconds = |seconds: f64| format!("{seconds:.3} s");
        fields(&[
            ("filled at", format!("{:.0} jobs/s", self.filled_per_s)),
            ("queued at the kill", self.queued.to_string()),
            ("first submit acknowledged", seconds(self.first_submit_s)),
            ("first job leased", seconds(self.first_lease_s)),
            ("99 % worked off", seconds(self.most_drained_s)),
            ("all worked off", seconds(self.drained_s)),
        ])
    }
}

pub(super) async fn run(bench: &mut Bench, arguments: &RecoveryArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    bench.progress.say("filling the queue");
    let filled_per_s = fill(bench, &run, arguments.jobs).await?;
    bench.progress.say("load, and a kill in the middle of it");
    load_and_kill(bench, &run, arguments.load).await?;
    let already = run.completed();
    let queued = run.open();
    let back = start_again(bench, &run).await?;
    confirm(bench, &run).await?;
    let lead = back.start.elapsed();
    let drained = work_off(bench, &run).await?;
    let window = Window {
        jobs: run.completed() - already,
        took: lead + drained.all,
        before: back.before,
        after: Reading::of(&bench.target),
    };
    let written = logged(&bench.target).await?;
    let figures = Figures::Recovery(RecoveryFigures {
        filled_per_s,
        queued,
        first_submit_s: back.first_submit.as_secs_f64(),
        first_lease_s: back.first_lease.as_secs_f64(),
        most_drained_s: (lead + drained.most).as_secs_f64(),
        drained_s: (lead + drained.all).as_secs_f64(),
    });
    let cost = Cost::of(&window, (&<_>::default(), &written), window.jobs);
    Measured::after(bench, &[&run], figures, cost).await
}

/// How soon a start served again.
struct Back {
    start: Instant,
    before: Reading,
    first_submit: Duration,
    first_lease: Duration,
}

/// A node that ends by itself meanwhile is not waited for.
async fn start_again(bench: &mut Bench, run: &Run) -> anyhow::Result<Back> {
    let door = Door::of(bench);
    let start = now();
    nodes(bench)?.start_again()?;
    let before = Reading::of(&bench.target);
    bench.progress.say("started again");
    let (first_submit, first_lease) = tokio::select! {
        biased;
        failure = nodes(bench)?.failure() => return Err(failure),
        both = served_again(&door, run, start) => both?,
    };
    Ok(Back {
        start,
        before,
        first_submit,
        first_lease,
    })
}

fn nodes(bench: &mut Bench) -> anyhow::Result<&mut super::nodes::Nodes> {
    let nodes = bench.target.nodes.as_mut();
    nodes.context("only nodes of its own can be killed")
}

async fn load_and_kill(bench: &mut Bench, run: &Arc<Run>, span: Duration) -> anyhow::Result<()> {
    let (connections, batch) = LOAD;
    let plan = Plan {
        connections,
        batch,
        calls: bench.calls(),
        result: bench.result(),
        keeps_backlog: true,
        submits: true,
    };
    let mut load = Load::start(&bench.target, Arc::clone(run), plan).await?;
    let watch = bench.progress.watch(run);
    tokio::select! {
        biased;
        error = load.broken() => return Err(error),
        () = sleep(span) => {}
    }
    nodes(bench)?.kill().await?;
    drop(watch);
    load.collapse(COLLAPSE).await;
    Ok(())
}

/// Where the first calls after the start go.
struct Door {
    address: Address,
    queue: String,
    calls: Calls,
    result: Bytes,
}

impl Door {
    fn of(bench: &Bench) -> Self {
        Self {
            address: bench.target.endpoint(0).clone(),
            queue: bench.target.queue().to_owned(),
            calls: bench.calls(),
            result: bench.result(),
        }
    }
}

/// When the first submit was acknowledged, and when the first job was leased.
async fn served_again(
    door: &Door,
    run: &Run,
    start: Instant,
) -> anyhow::Result<(Duration, Duration)> {
    tokio::try_join!(
        first_submit(door, run, start),
        first_lease(door, run, start)
    )
}

async fn first_submit(door: &Door, run: &Run, start: Instant) -> anyhow::Result<Duration> {
    until_served(start, || async {
        let mut line = Submitter::open(&door.address, &door.queue, door.calls).await?;
        let numbers = run.take(1).context("more jobs than a run can have")?;
        line.send(numbers.start, run.jobs(line.slices, numbers.clone()));
        let answered = line.answered().await;
        let (_number, answer) = answered.inspect_err(|_| run.unanswered(numbers.clone()))?;
        match run.submitted(numbers, answer).accepted {
            0 => bail!("the submit was refused"),
            _one => Ok(start.elapsed()),
        }
    })
    .await
}

async fn first_lease(door: &Door, run: &Run, start: Instant) -> anyhow::Result<Duration> {
    let leased = until_served(start, || async {
        let mut worker = Worker::open(&door.address, &door.queue, session(), door.calls).await?;
        worker.credit(1);
        loop {
            if let Heard::Assigned(assignment) = worker.hear().await? {
                return Ok((start.elapsed(), worker, assignment));
            }
        }
    });
    let (took, mut worker, assignment) = leased.await?;
    run.delivered(&assignment);
    run.reporting(&assignment);
    worker.leave();
    worker.complete(&assignment, door.result.clone());
    loop {
        if let Heard::Reported(reported) = worker.hear().await? {
            run.reported(&reported);
            return Ok(took);
        }
    }
}

/// Tries again and again, each time over a new connection.
async fn until_served<T, F>(start: Instant, attempt: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    loop {
        let served = timeout(SERVES_WITHIN, attempt()).await;
        match served.context("not served again after the start")? {
            Ok(served) => return Ok(served),
            Err(error) if start.elapsed() > SERVES_WITHIN => {
                return Err(error.context("not served again after the start"));
            }
            Err(_not_yet) => sleep(TRY_EVERY).await,
        }
    }
}
