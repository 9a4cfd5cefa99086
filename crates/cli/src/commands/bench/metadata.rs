//! Changes of the metadata: how many a second a majority takes, and how soon each is acknowledged.
//!
//! What a client can change in the metadata is the policy of a queue, so each client has a queue of its own and
//! changes it again and again, one change under way. Such a change costs more than its entry in the metadata's log: the
//! shards are told of it through logs of their own. Asking for the policy that stands already (`--unchanged`) goes
//! through the metadata's log just the same and tells nobody: the difference is what the telling costs.
//!
//! A speed at which an acknowledged change is not there afterwards is no speed: in the end every node is asked.

mod changer;
mod check;
mod describe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::args::MetadataArgs;
use super::clock::now;
use super::cost::{Cost, Reading};
use super::counters::logged;
use super::report::{Figures, Measured};
use super::run::Errors;
use super::target::QueuePlan;
use super::throughput::Window;
use super::times::{Spread, Times};
pub(crate) use changer::queue_name;
use changer::{Changer, Ended};

/// Longest that the changes under way at the end may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How changes were taken.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MetadataFigures {
    pub(crate) changes_per_s: f64,
    pub(crate) changes: u64,
    pub(crate) seconds: f64,
    /// The policy asked for was the one that stood, and no shard was told.
    pub(crate) unchanged: bool,
    /// One for each client.
    pub(crate) queues: usize,
    /// Acknowledged from the first to the last, the warm-up included.
    pub(crate) acknowledged: u64,
    /// Changes that may have been made or not.
    pub(crate) unsure: u64,
    /// Queues that some node did not show under the last policy acknowledged.
    pub(crate) lost: usize,
    /// From sending a change to its acknowledgement.
    pub(crate) answer: Option<Spread>,
}

/// Shared by the clients.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    is_measured: AtomicBool,
    end: CancellationToken,
}

/// What the clients found, all together.
#[derive(Default)]
struct Findings {
    ended: Vec<Ended>,
    errors: Errors,
    unsure: u64,
}

pub(super) async fn run(bench: &Bench, arguments: &MetadataArgs) -> anyhow::Result<Measured> {
    bench.progress.say("making a queue for each client");
    let changers = hire(bench, arguments).await?;
    let before = logged(&bench.target).await?;
    bench.progress.say("changing");
    let counts = Arc::new(Counts::default());
    let mut loops = JoinSet::new();
    for changer in changers {
        loops.spawn(changer.run(Arc::clone(&counts)));
    }
    let window = window(bench, &counts, arguments).await;
    counts.end.cancel();
    let ended = timeout(PATIENCE, gather(&mut loops)).await;
    let (findings, times) = ended.context("waiting for the last changes to be answered")??;
    let after = logged(&bench.target).await?;
    bench.progress.say("looking for the last change of each");
    let lost = check::lost(&bench.target, &findings.ended).await?;
    let acknowledged = counts.acknowledged.load(Ordering::Relaxed);
    let figures = MetadataFigures {
        changes_per_s: window.rate(),
        changes: window.jobs,
        seconds: window.took.as_secs_f64(),
        unchanged: arguments.unchanged,
        queues: findings.ended.len(),
        acknowledged,
        unsure: findings.unsure,
        lost: lost.len(),
        answer: times.spread(),
    };
    Ok(Measured {
        figures: Figures::Metadata(figures),
        cost: Cost {
            per: "change",
            ..Cost::of(&window, (&before, &after), acknowledged)
        },
        jobs: None,
        errors: findings.errors,
    })
}

/// One client for each queue, each on a connection of its own, which go round over the nodes.
async fn hire(bench: &Bench, arguments: &MetadataArgs) -> anyhow::Result<Vec<Changer>> {
    let (client, mut opening) = (bench.target.client()?, JoinSet::new());
    for at in 0..arguments.clients {
        let queue = QueuePlan {
            name: queue_name(bench.target.queue(), at),
            retain: bench.common.retain,
            lease: bench.common.lease,
        };
        let address = bench.target.endpoint(at).clone();
        let (client, unchanged) = (client.clone(), arguments.unchanged);
        opening.spawn(async move {
            let opened = Changer::open(&client, &address, &queue, unchanged).await;
            opened.with_context(|| format!("queue {}", queue.name))
        });
    }
    let mut changers = Vec::with_capacity(arguments.clients);
    while let Some(opened) = opening.join_next().await {
        changers.push(opened??);
    }
    Ok(changers)
}

async fn window(bench: &Bench, counts: &Counts, arguments: &MetadataArgs) -> Window {
    sleep(arguments.warm_up).await;
    let acknowledged = || counts.acknowledged.load(Ordering::Relaxed);
    let (before, start, already) = (Reading::of(&bench.target), now(), acknowledged());
    counts.is_measured.store(true, Ordering::Relaxed);
    sleep(arguments.duration).await;
    let (took, jobs) = (start.elapsed(), acknowledged() - already);
    Window {
        jobs,
        took,
        before,
        after: Reading::of(&bench.target),
    }
}

async fn gather(loops: &mut JoinSet<Ended>) -> anyhow::Result<(Findings, Times)> {
    let (mut findings, mut times) = (Findings::default(), Times::new());
    while let Some(ended) = loops.join_next().await {
        let mut ended = ended?;
        times.merge(&ended.times);
        findings.unsure += ended.unsure;
        for (what, count) in std::mem::take(&mut ended.errors) {
            *findings.errors.entry(what).or_default() += count;
        }
        findings.ended.push(ended);
    }
    Ok((findings, times))
}
