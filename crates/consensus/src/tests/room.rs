//! Memory that only a checkpoint gives back, and entries that come faster than checkpoints are written.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leasehold_storage::{Disk, MemoryDisk};
use leasehold_types::limits;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, SOON, TOO_LONG};
use super::counter::{HEAVY, HEAVY_BYTES, UNWRITABLE};
use crate::group::OpenGroupError;
use crate::status::{GroupStatus, Role};
use crate::timings::Timings;

/// Many times what may be in memory.
const COMMANDS: u64 = 40;
/// As many as may be in memory.
const HELD: u64 = limits::UNSAVED_BYTES / HEAVY_BYTES;

/// More than an empty checkpoint takes, in bytes, and less than one of a few commands that weigh.
const EMPTY: u64 = 2 * 1024 * 1024;

/// The runtime that production has: entries are applied while a checkpoint is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_wait_for_a_slow_checkpoint_and_are_all_applied() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.found_alone().await;
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
    let all = async {
        while let Some(applied) = proposals.next().await {
            applied.unwrap();
        }
    };
    timeout(TOO_LONG, all).await.unwrap();
    assert_eq!(group.read(|it| it.applied.len() as u64), COMMANDS);
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn replica_opens_with_more_in_its_log_than_may_be_in_memory() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.found_alone().await;
    for command in HEAVY..HEAVY + COMMANDS {
        group.propose(command).await.unwrap();
    }
    cluster.stop(1).await;
    forget_checkpoint(cluster.disk(1));
    timeout(TOO_LONG, cluster.start(1)).await.unwrap();
    cluster.await_leader().await;
    let last = cluster.group(1).propose(1).await.unwrap();
    cluster.await_applied(1, last.index).await;
    let commands: Vec<u64> = (HEAVY..HEAVY + COMMANDS).chain([1]).collect();
    assert_eq!(cluster.commands(1), commands);
}

fn forget_checkpoint(disk: &MemoryDisk) {
    disk.remove("checkpoint-g1").unwrap();
    disk.sync_folder().unwrap();
}

/// From now on no file grows.
fn fill(disk: &MemoryDisk) {
    disk.set_capacity(Some(u64::MAX));
    let free = disk.space().unwrap().free;
    disk.set_capacity(Some(u64::MAX - free));
}

#[tokio::test(start_paused = true)]
async fn full_disk_holds_checkpoints_up_and_nothing_else_until_memory_is_full_too() {
    let mut cluster = Cluster::new(Timings::Lan);
    cluster.retention = SOON;
    let group = cluster.found_alone().await;
    fill(cluster.disk(1));
    let mut last = 0;
    for command in HEAVY..HEAVY + HELD {
        last = group.propose(command).await.unwrap().index;
        sleep(SOON.checkpoint_every).await;
    }
    let waits = group.propose(HEAVY + HELD);
    timeout(TOO_LONG, waits).await.unwrap_err();
    let status = group.status();
    assert_eq!((status.fatal, status.role), (None, Role::Leader));
    assert!(status.snapshot < last);
    cluster.disk(1).set_capacity(None);
    last = group.propose(HEAVY + HELD + 1).await.unwrap().index;
    // All of it is in the checkpoint then, and nowhere else.
    cluster.await_purged(1, last).await;
    cluster.stop(1).await;
    cluster.start(1).await;
    let commands: Vec<u64> = (HEAVY..=HEAVY + HELD + 1).collect();
    assert_eq!(cluster.commands(1), commands);
}

#[tokio::test(start_paused = true)]
async fn replica_that_waits_for_room_on_its_disk_stops_when_it_is_told() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.found_alone().await;
    fill(cluster.disk(1));
    let proposals = (HEAVY..HEAVY + COMMANDS).map(|command| group.propose(command));
    let mut proposals: FuturesUnordered<_> = proposals.collect();
    for _ in 0..HELD {
        proposals.next().await.unwrap().unwrap();
    }
    let log = cluster.weak_log(1);
    timeout(TOO_LONG, cluster.stop(1)).await.unwrap();
    assert_eq!(group.status().role, Role::Stopped);
    drop(proposals);
    drop(group);
    // Nor does anything of it wait on.
    let ended = async {
        while log.strong_count() > 0 {
            sleep(SOON.checkpoint_every).await;
        }
    };
    timeout(TOO_LONG, ended).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn replica_that_would_wait_for_room_on_its_disk_does_not_open() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.found_alone().await;
    for command in HEAVY..HEAVY + COMMANDS {
        group.propose(command).await.unwrap();
    }
    cluster.stop(1).await;
    forget_checkpoint(cluster.disk(1));
    // Room for an empty one.
    cluster.disk(1).set_capacity(Some(EMPTY));
    let opened = cluster.try_start(1).await;
    let Err(OpenGroupError::NoSpace { reason, .. }) = opened else {
        panic!("{opened:?}");
    };
    assert!(reason.contains("the disk is full"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn panic_while_a_checkpoint_is_written_stops_the_replica() {
    let mut cluster = Cluster::new(Timings::Lan);
    cluster.retention = SOON;
    let group = cluster.found_alone().await;
    group.propose(UNWRITABLE).await.unwrap();
    let broken = |status: &GroupStatus| status.fatal.is_some();
    let status = cluster.await_status(&group, broken).await;
    assert!(status.fatal.unwrap().contains("writing it panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_replica_writes_no_checkpoint_any_more() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.found_alone().await;
    let disk = cluster.disk(1);
    disk.hold_syncs();
    for command in HEAVY..HEAVY + 3 {
        group.propose(command).await.unwrap();
    }
    block_in_place(|| disk.await_held_syncs(1));
    let stopping = tokio::spawn({
        let group = group.clone();
        async move { group.shutdown().await }
    });
    let stopped = |status: &GroupStatus| status.role == Role::Stopped;
    cluster.await_status(&group, stopped).await;
    disk.release_syncs();
    timeout(TOO_LONG, stopping).await.unwrap().unwrap();
    assert!(group.view().unwrap().head().is_some(), "it was cut short");
}
