//! Who belongs to a group, and what is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_types::NodeId;
use tokio::time::sleep;

use super::cluster::Cluster;
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
