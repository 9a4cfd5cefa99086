//! A follower that stands still under load, and catches up: once from the log, once with a snapshot.
//!
//! It is stopped by SIGSTOP, and not killed: to the others that looks like a machine that hangs, and its own counters
//! go on where they were. It is the last node; no client connects to it, and its own shard is not under load, so what
//! the clients see of its standing still is only what a missing follower costs. Whether it was sent a snapshot is what it
//! says itself.
//!
//! The two parts have a cluster each: in the second the nodes keep no log behind their checkpoints.

mod describe;
mod replicas;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::args::FollowerArgs;
use super::backlog::work_off;
use super::clock::now;
use super::confirm::judge;
use super::cost::Cost;
use super::counters::logged;
use super::fill::fill;
use super::open_loop::{OpenLoop, Shape};
use super::report::{Figures, Measured};
use super::run::{Run, together};
use super::schedule::Pace;
use super::throughput::Window;
use super::times::Spread;
use super::trace::{Span, Trace};
use super::{Bench, own_nodes};
use replicas::{CAUGHT_UP_WITHIN, Replicas, Snapshots};

/// How long the queue beside may take to fill, as far as numbers for the jobs sent meanwhile are set aside.
const FILLED_WITHIN: Duration = Duration::from_secs(600);

/// How a follower came back. All waits are from when a job was meant to be sent until a worker had it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FollowerFigures {
    pub(crate) rate: u64,
    /// The others kept their log.
    pub(crate) log: Return,
    /// The others kept none, and so many jobs were queued meanwhile.
    pub(crate) snapshot: Return,
    pub(crate) queued: u64,
}

/// One time that a follower stood still and came back.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Return {
    pub(crate) away_s: f64,
    /// Entries of the shards under load that it had missed when it went on.
    pub(crate) missed: u64,
    /// From then until it had applied what their leaders had. Counters are sampled once a second.
    pub(crate) caught_up_s: f64,
    /// Snapshots that it switched to; none when it caught up from the log.
    pub(crate) snapshots: u64,
    /// Bytes of rows that came with them.
    pub(crate) snapshot_bytes: u64,
    /// Time that they took to arrive and to be synced.
    pub(crate) snapshot_s: f64,
    pub(crate) before: Option<Spread>,
    pub(crate) away: Option<Spread>,
    pub(crate) catching_up: Option<Spread>,
    pub(crate) after: Option<Spread>,
}

/// What the follower stands still for.
#[derive(Clone)]
enum Away {
    For(Duration),
    /// Until these are queued, and the others have let go of the log.
    Queueing(Arc<Run>, u64),
}

/// When each part of a return began.
struct Moments {
    begin: Instant,
    still: Instant,
    on: Instant,
    caught_up: Instant,
    end: Instant,
}

pub(super) async fn run(bench: &mut Bench, arguments: &FollowerArgs) -> anyhow::Result<Measured> {
    bench
        .progress
        .say("a follower stands still, and the others keep their log");
    let first = bench.new_run();
    let before = logged(&bench.target).await?;
    let away = Away::For(arguments.away);
    let (log, window) = come_back(bench, &first, arguments, away).await?;
    let after = logged(&bench.target).await?;
    let cost = Cost::of(&window, (&before, &after), first.completed());
    judge(bench, &first).await?;
    renew(bench).await?;
    bench
        .progress
        .say("a follower stands still, and the others keep no log");
    let (second, queued) = (bench.new_run(), bench.new_run_beside().await?);
    let away = Away::Queueing(Arc::clone(&queued), arguments.jobs);
    let (snapshot, _) = come_back(bench, &second, arguments, away).await?;
    bench.progress.say("working the queue off");
    work_off(bench, &queued).await?;
    let figures = FollowerFigures {
        rate: arguments.rate,
        log,
        snapshot,
        queued: queued.accepted(),
    };
    judge(bench, &second).await?;
    judge(bench, &queued).await?;
    let (jobs, errors) = together(&[&first, &second, &queued]);
    Ok(Measured {
        figures: Figures::Follower(figures),
        cost,
        jobs: Some(jobs),
        errors,
    })
}

/// A cluster of the same kind that keeps no log behind its checkpoints, in the place of the one that was.
async fn renew(bench: &mut Bench) -> anyhow::Result<()> {
    if let Some(nodes) = bench.target.nodes.take() {
        nodes.stop().await?;
    }
    bench.target = own_nodes(&bench.common, bench.progress, Some(0)).await?;
    bench.target.make_queue().await
}

/// The load goes on from before the follower stands still until after it has caught up.
async fn come_back(
    bench: &Bench,
    run: &Arc<Run>,
    arguments: &FollowerArgs,
    away: Away,
) -> anyhow::Result<(Return, Window)> {
    let shape = Shape {
        connections: arguments.connections,
        slots: arguments.slots,
        is_traced: true,
    };
    let mut load = OpenLoop::start(bench, run, shape, pace(arguments, &away)).await?;
    let begin = load.began() + arguments.warm_up;
    let followed = tokio::select! {
        biased;
        error = load.broken() => return Err(error),
        followed = follow(bench, arguments, &away, begin) => followed?,
    };
    load.stop_sending();
    let (window, measured) = load.end(bench).await?;
    Ok((followed.told(&measured.trace), window))
}

/// For as long as it may take at most: it is stopped when all is seen.
fn pace(arguments: &FollowerArgs, away: &Away) -> Pace {
    let away = match away {
        Away::For(span) => *span,
        Away::Queueing(..) => FILLED_WITHIN,
    };
    Pace {
        rate: arguments.rate,
        warm_up: arguments.warm_up,
        measured: arguments.duration * 2 + away + CAUGHT_UP_WITHIN,
    }
}

/// What was seen of a return, and when.
struct Followed {
    moments: Moments,
    missed: u64,
    snapshots: Snapshots,
}

async fn follow(
    bench: &Bench,
    arguments: &FollowerArgs,
    away: &Away,
    begin: Instant,
) -> anyhow::Result<Followed> {
    sleep(begin.saturating_duration_since(now()) + arguments.duration).await;
    let replicas = Replicas::of(&bench.target).await?;
    let (had, already) = (replicas.applied().await?, replicas.snapshots().await?);
    let still = now();
    replicas.pause()?;
    bench.progress.say("it stands still");
    match away {
        Away::For(span) => sleep(*span).await,
        Away::Queueing(run, jobs) => {
            fill(bench, run, *jobs).await?;
            replicas.led_wrote_checkpoints().await?;
        }
    }
    let wanted = replicas.led().await?;
    let on = now();
    replicas.resume()?;
    bench.progress.say("it goes on");
    replicas.caught_up().await?;
    let caught_up = now();
    bench.progress.say("it has caught up");
    sleep(arguments.duration).await;
    Ok(Followed {
        moments: Moments {
            begin,
            still,
            on,
            caught_up,
            end: now(),
        },
        missed: wanted.ahead_of(&had),
        snapshots: replicas.snapshots().await?.since(already),
    })
}

impl Followed {
    fn told(&self, trace: &Trace) -> Return {
        let Moments {
            begin,
            still,
            on,
            caught_up,
            end,
        } = self.moments;
        let waits = |from, to| trace.meant_in(Span { from, to });
        Return {
            away_s: (on - still).as_secs_f64(),
            missed: self.missed,
            caught_up_s: (caught_up - on).as_secs_f64(),
            snapshots: self.snapshots.installed,
            snapshot_bytes: self.snapshots.bytes,
            snapshot_s: self.snapshots.receiving.as_secs_f64(),
            before: waits(begin, still),
            away: waits(still, on),
            catching_up: waits(on, caught_up),
            after: waits(caught_up, end),
        }
    }
}
