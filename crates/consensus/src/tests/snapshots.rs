//! Replicas that are sent a checkpoint because the log no longer has what they miss.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use leasehold_api::v1;
use leasehold_api::v1::raft_reply::Body;
use leasehold_types::NodeId;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use tokio::time::sleep;

use super::Counter;
use super::cluster::{Cluster, SOON};
use super::counter::HEAVY;
use crate::group::Group;
use crate::machine::Machine;
use crate::snapshot;
use crate::timings::Timings;
use crate::types::{Entry, EntryPayload, LogId, Snapshot, SnapshotMeta, Types, Vote};
use crate::wire;

#[tokio::test(start_paused = true)]
async fn learner_that_is_behind_the_log_gets_a_snapshot() {
    let mut cluster = Cluster::new(Timings::Wan);
    cluster.retention = SOON;
    cluster.found().await;
    let leader = cluster.group(1).clone();
    let mut last = 0;
    for command in 0..100 {
        last = leader.propose(command).await.unwrap().index;
    }
    cluster.await_purged(1, last).await;
    cluster.start(4).await;
    cluster.join(&[4]).await;
    cluster.await_applied(4, last).await;
    assert_eq!(cluster.commands(4), (0..100).collect::<Vec<_>>());
    assert_eq!(cluster.wires.snapshots(), 1);
    let (given, giver) = (
        cluster.group(4).checkpoint_counts(),
        leader.checkpoint_counts(),
    );
    assert!(given.installed() == 1 && given.received_bytes() > 0);
    assert!(giver.installed() == 0 && giver.begun() > 0);
    // What it was given survives it, though it never had the entries.
    cluster.stop(4).await;
    cluster.start(4).await;
    cluster.await_applied(4, last).await;
    assert_eq!(cluster.commands(4), (0..100).collect::<Vec<_>>());
}

/// The leader takes checkpoints and purges behind them all the time.
#[tokio::test(start_paused = true)]
async fn learner_that_is_slow_to_answer_needs_one_snapshot() {
    let mut cluster = Cluster::new(Timings::Wan);
    cluster.retention = SOON;
    let leader = cluster.found_alone().await;
    let first = leader.propose(0).await.unwrap().index;
    cluster.await_purged(1, first).await;
    cluster.start(4).await;
    cluster.wires.set_delay(SOON.checkpoint_every);
    leader.add_learner(NodeId::new(4)).await.unwrap();
    let mut last = 0;
    for command in 1..100 {
        last = leader.propose(command).await.unwrap().index;
        sleep(SOON.checkpoint_every / 4).await;
    }
    cluster.await_applied(4, last).await;
    assert_eq!(cluster.wires.snapshots(), 1);
}

/// Rows that are larger than a part of a snapshot, between others that are smaller.
#[tokio::test(start_paused = true)]
async fn snapshot_of_large_and_small_rows_arrives_whole() {
    let mut cluster = Cluster::new(Timings::Wan);
    cluster.retention = SOON;
    let leader = cluster.found_alone().await;
    let commands = [1, HEAVY, 2, HEAVY + 1, HEAVY + 2, 3];
    let mut last = 0;
    for command in commands {
        last = leader.propose(command).await.unwrap().index;
    }
    cluster.await_purged(1, last).await;
    cluster.start(4).await;
    cluster.join(&[4]).await;
    assert_eq!(cluster.wires.snapshots(), 1);
    assert_eq!(cluster.commands(4), commands);
}

#[tokio::test(start_paused = true)]
async fn snapshot_that_is_cut_short_is_refused_and_bars_no_other() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.start(1).await;
    let head = wire::snapshot_message(&Vote::new_committed(1, 2), &SnapshotMeta::default());
    for _ in 0..2 {
        let rows = v1::RaftSnapshotRows {
            checksum: crc32fast::hash(&[]),
            rows: Bytes::new(),
            ..v1::RaftSnapshotRows::default()
        };
        let parts = stream::iter([Ok(rows)]).boxed();
        let reply = group.receive_snapshot(head.clone(), parts).await;
        let Some(Body::Refusal(refusal)) = reply.body else {
            panic!("{reply:?}");
        };
        let reason = refusal.reason;
        assert!(reason.contains("the last part never came"), "{reason}");
    }
}

/// Sends what a leader would: blank entries from `from` to before `to`, with what it holds committed.
async fn append(group: &Group<Counter>, from: u64, to: u64, committed: Option<LogId>, like: LogId) {
    let id = |index| LogId::new(like.leader_id, index);
    let request = AppendEntriesRequest::<Types<Counter>> {
        vote: Vote::new_committed(like.leader_id.term, like.leader_id.node_id),
        prev_log_id: from.checked_sub(1).map(id),
        leader_commit: committed,
        entries: (from..to)
            .map(|index| Entry::<Counter>::new(id(index), EntryPayload::<Counter>::Blank))
            .collect(),
    };
    let reply = group.handle(wire::append_request(request)).await;
    let Some(Body::Append(_)) = &reply.body else {
        panic!("{reply:?}");
    };
}

/// A replica that was stopped for a while: what it was sent meanwhile arrives, and then a snapshot that is older.
#[tokio::test(start_paused = true)]
async fn snapshot_of_what_the_log_holds_is_not_installed() {
    let mut leading = Cluster::new(Timings::Lan);
    leading.retention = SOON;
    let leader = leading.found_alone().await;
    let covered = leader.propose(7).await.unwrap().index;
    leading.await_purged(1, covered).await;
    let Snapshot { meta, snapshot } = leader.newest_snapshot().unwrap().unwrap();
    let last = meta.last_log_id.unwrap();

    let mut behind = Cluster::new(Timings::Lan);
    let group = behind.start(2).await;
    append(&group, 0, last.index + 3, None, last).await;
    let vote = Vote::new_committed(last.leader_id.term, last.leader_id.node_id);
    let head = wire::snapshot_message(&vote, &meta);
    let parts = snapshot::parts(snapshot, Counter::TABLES);
    let reply = group.receive_snapshot(head, parts).await;
    let Some(Body::Snapshot(_)) = &reply.body else {
        panic!("{reply:?}");
    };
    behind.await_applied(2, last.index).await;
    assert_eq!(group.checkpoint_counts().installed(), 0);

    let end = last.index + 3;
    append(
        &group,
        end,
        end + 1,
        Some(LogId::new(last.leader_id, end)),
        last,
    )
    .await;
    behind.await_applied(2, end).await;
}
