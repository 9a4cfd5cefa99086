//! Memory that only a checkpoint gives back, and entries that come faster than checkpoints are written.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leasehold_storage::Disk;
use leasehold_types::limits;
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::Counter;
use super::cluster::{Cluster, TOO_LONG};
use super::counter::{HEAVY, HEAVY_BYTES};
use crate::group::Group;
use crate::timings::Timings;

/// Many times what may be in memory.
const COMMANDS: u64 = 40;
/// As many as may be in memory.
const HELD: u64 = limits::UNSAVED_BYTES / HEAVY_BYTES;

async fn lone(cluster: &mut Cluster) -> Group<Counter> {
    let group = cluster.start(1).await;
    group.initialize().await.unwrap();
    cluster.await_leader().await;
    group
}

/// The runtime that production has: entries are applied while a checkpoint is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_wait_for_a_slow_checkpoint_and_are_all_applied() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = lone(&mut cluster).await;
    let disk = cluster.disk(1);
    disk.hold_syncs();
    for command in HEAVY..HEAVY + 3 {
        group.propose(command).await.unwrap();
    }
    // What is applied from now on is in none that is under way.
    block_in_place(|| disk.await_held_syncs(1));
    let proposals = (HEAVY + 3..HEAVY + COMMANDS).map(|command| group.propose(command));
    let mut proposals: FuturesUnordered<_> = proposals.collect();
    for _ in 3..HELD {
        proposals.next().await.unwrap().unwrap();
    }
    assert_eq!(group.read(|it| it.applied.len() as u64), HELD);
    disk.release_syncs();
    let all = proposals.for_each(async |applied| drop(applied.unwrap()));
    timeout(TOO_LONG, all).await.unwrap();
    assert_eq!(group.read(|it| it.applied.len() as u64), COMMANDS);
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn replica_opens_with_more_in_its_log_than_may_be_in_memory() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = lone(&mut cluster).await;
    for command in HEAVY..HEAVY + COMMANDS {
        group.propose(command).await.unwrap();
    }
    cluster.stop(1).await;
    let disk = cluster.disk(1);
    disk.remove("checkpoint-g1").unwrap();
    disk.sync_folder().unwrap();
    timeout(TOO_LONG, cluster.start(1)).await.unwrap();
    cluster.await_leader().await;
    let last = cluster.group(1).propose(1).await.unwrap();
    cluster.await_applied(1, last.index).await;
    let commands: Vec<u64> = (HEAVY..HEAVY + COMMANDS).chain([1]).collect();
    assert_eq!(cluster.commands(1), commands);
}
