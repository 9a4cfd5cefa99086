//! Who leads when links and nodes fail.

use std::time::Duration;

use leasehold_types::NodeId;
use tokio::time::sleep;

use super::cluster::{Cluster, now};
use crate::timings::Timings;

/// Loses the leader and says who followed it, in which term, and after how long.
async fn lose_the_leader(cluster: &Cluster) -> (u64, u64, Duration) {
    let lost_at = now();
    cluster.wires.isolate(NodeId::new(1));
    let (term, leader) = cluster.await_leader_among(&[2, 3]).await;
    (term, leader, lost_at.elapsed())
}

#[tokio::test(start_paused = true)]
async fn writes_survive_the_loss_of_the_leader() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    for command in 0..10 {
        cluster.group(1).propose(command).await.unwrap();
    }
    let (_, leader, _) = lose_the_leader(&cluster).await;
    let last = cluster.group(leader).propose(10).await.unwrap();
    cluster.wires.heal();
    for node in [1, 2, 3] {
        cluster.await_applied(node, last.index).await;
        assert_eq!(cluster.commands(node), (0..=10).collect::<Vec<_>>());
    }
    assert_eq!(cluster.await_leader().await, leader);
}

#[tokio::test(start_paused = true)]
async fn lost_leader_is_replaced_in_the_time_that_the_settings_promise() {
    for (timings, least, most) in [(Timings::Wan, 5_000, 7_500), (Timings::Lan, 1_000, 1_500)] {
        let cluster = Cluster::of_three(timings).await;
        let (_, _, leaderless) = lose_the_leader(&cluster).await;
        let promised = Duration::from_millis(least)..Duration::from_millis(most);
        assert!(
            promised.contains(&leaderless),
            "{timings:?}: {leaderless:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn isolated_replica_keeps_its_term_and_disturbs_nobody() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let term = cluster.group(3).status().term;
    cluster.wires.isolate(NodeId::new(3));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.group(3).status().term, term);
    cluster.wires.heal();
    let applied = cluster.group(1).propose(1).await.unwrap();
    cluster.await_applied(3, applied.index).await;
    assert_eq!(cluster.await_leader_among(&[1, 2, 3]).await, (term, 1));
}

#[tokio::test(start_paused = true)]
async fn without_pre_vote_an_isolated_replica_would_raise_its_term() {
    let mut cluster = Cluster::new(Timings::Wan);
    cluster.tweak = |config| config.enable_pre_vote = Some(false);
    cluster.found().await;
    let term = cluster.group(3).status().term;
    cluster.wires.isolate(NodeId::new(3));
    sleep(Duration::from_secs(60)).await;
    assert!(cluster.group(3).status().term > term + 3);
}

/// The leader is heard by all and hears nobody: without falling silent it would keep the others from electing.
#[tokio::test(start_paused = true)]
async fn leader_that_cannot_hear_gives_way() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let term = cluster.group(1).status().term;
    for other in [2, 3].map(NodeId::new) {
        cluster.wires.cut_one_way(other, NodeId::new(1));
    }
    let newer = |status: &crate::status::GroupStatus| {
        status.term > term && status.leader.is_some_and(|it| it != NodeId::new(1))
    };
    for node in [2, 3] {
        cluster.await_status(cluster.group(node), newer).await;
    }
    let (_, leader) = cluster.await_leader_among(&[2, 3]).await;
    cluster.group(leader).propose(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leadership_passes_to_a_voter_that_has_caught_up() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    cluster.group(1).propose(1).await.unwrap();
    let started = now();
    let (to, within) = (NodeId::new(3), Duration::from_secs(2));
    cluster.group(1).transfer_leader(to, within).await.unwrap();
    assert!(started.elapsed() < within);
    assert_eq!(cluster.await_leader().await, 3);
    cluster.group(3).propose(2).await.unwrap();
    assert_eq!(cluster.commands(3), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_course_of_events() {
    let mut courses = Vec::new();
    for seed in [1, 1, 2, 3, 4] {
        let mut cluster = Cluster::new(Timings::Wan);
        cluster.seed = seed;
        cluster.found().await;
        courses.push(lose_the_leader(&cluster).await);
        cluster.end().await;
    }
    assert_eq!(courses[0], courses[1]);
    assert!(courses.iter().any(|course| *course != courses[0]));
}
