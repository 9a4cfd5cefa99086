//! Who belongs to a group, and what is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_types::NodeId;
use tokio::time::sleep;

use super::cluster::{Cluster, SOON};
use super::counter::HEAVY;
use crate::group::ChangeError;
use crate::status::{GroupStatus, Role};
use crate::timings::Timings;

fn nodes<const N: usize>(nodes: [u64; N]) -> BTreeSet<NodeId> {
    nodes.into_iter().map(NodeId::new).collect()
}

#[tokio::test(start_paused = true)]
async fn group_is_founded_once() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    for node in [1, 2] {
        let again = cluster.group(node).initialize().await;
        assert_eq!(again, Err(ChangeError::AlreadyFounded));
    }
}

#[tokio::test(start_paused = true)]
async fn one_voter_widens_to_three_and_to_five_and_back() {
    let mut cluster = Cluster::of_three(Timings::Wan).await;
    for node in [4, 5] {
        cluster.start(node).await;
    }
    cluster.join(&[4, 5]).await;
    let leader = cluster.group(1).clone();
    leader.set_voters(nodes([1, 2, 3, 4, 5])).await.unwrap();
    assert_eq!(leader.status().voters, nodes([1, 2, 3, 4, 5]));
    leader.set_voters(nodes([1, 4, 5])).await.unwrap();
    let settled = |status: &GroupStatus| !status.changing && status.learners == nodes([2, 3]);
    let status = cluster.await_status(&leader, settled).await;
    assert_eq!(status.voters, nodes([1, 4, 5]));
    leader.remove_learner(NodeId::new(2)).await.unwrap();
    let gone = |status: &GroupStatus| status.learners == nodes([3]);
    cluster.await_status(&leader, gone).await;
}

#[tokio::test(start_paused = true)]
async fn change_is_for_the_leader_and_for_odd_numbers() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let leader = Some(NodeId::new(1));
    let elsewhere = cluster.group(2).set_voters(nodes([1])).await;
    assert_eq!(elsewhere, Err(ChangeError::NotLeader { leader }));
    let even = cluster.group(1).set_voters(nodes([1, 2])).await;
    assert_eq!(even, Err(ChangeError::VoterCount { given: 2 }));
    let node = NodeId::new(2);
    let voter = cluster.group(1).remove_learner(node).await;
    assert_eq!(voter, Err(ChangeError::IsVoter { node }));
}

#[tokio::test(start_paused = true)]
async fn silent_replica_gets_no_vote_and_no_leadership() {
    let mut cluster = Cluster::of_three(Timings::Wan).await;
    for node in [4, 5] {
        cluster.start(node).await;
    }
    cluster.join(&[4, 5]).await;
    for node in [3, 5].map(NodeId::new) {
        cluster.wires.isolate(node);
    }
    sleep(Timings::Wan.leader_lease() * 2).await;
    let leader = cluster.group(1);
    let node = NodeId::new(5);
    let vote = leader.set_voters(nodes([1, 2, 3, 4, 5])).await;
    assert_eq!(vote, Err(ChangeError::Silent { node }));
    let node = NodeId::new(3);
    let lead = leader.transfer_leader(node, Duration::from_secs(2)).await;
    assert_eq!(lead, Err(ChangeError::Silent { node }));
    leader.propose(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leader_that_gives_up_its_vote_hands_over() {
    let mut cluster = Cluster::of_three(Timings::Wan).await;
    for node in [4, 5] {
        cluster.start(node).await;
    }
    cluster.join(&[4, 5]).await;
    cluster.group(1).set_voters(nodes([2, 3, 4])).await.unwrap();
    let (_, leader) = cluster.await_leader_among(&[2, 3, 4]).await;
    cluster.group(leader).propose(1).await.unwrap();
    let learns = |status: &GroupStatus| status.role == Role::Learner;
    cluster.await_status(cluster.group(1), learns).await;
}

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
    assert!(cluster.group(4).status().snapshot > 0);
    let (given, giver) = (
        cluster.group(4).checkpoint_counts(),
        leader.checkpoint_counts(),
    );
    assert!(given.installed() == 1 && given.received_bytes() > 0);
    assert!(giver.installed() == 0 && giver.begun() > 0);
    assert_eq!(cluster.wires.snapshots(), 1);
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
