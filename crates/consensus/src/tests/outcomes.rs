//! What whoever proposes or reads is told.

use std::time::Duration;

use leasehold_types::NodeId;

use super::cluster::{Cluster, now};
use crate::group::{Applied, ProposeError, ReadError};
use crate::timings::Timings;

#[tokio::test(start_paused = true)]
async fn commands_are_carried_out_on_every_replica_in_one_order() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let leader = cluster.group(1);
    let mut last = 0;
    for command in 0..50 {
        let applied = leader.propose(command).await.unwrap();
        assert_eq!(u64::try_from(applied.outcome), Ok(command));
        last = applied.index;
    }
    for node in [1, 2, 3] {
        cluster.await_applied(node, last).await;
        assert_eq!(cluster.commands(node), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn proposals_stand_in_the_log_in_the_order_of_their_first_poll() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let leader = cluster.group(1);
    let proposals = (0..200).map(|command| leader.propose(command));
    let applied = futures_util::future::join_all(proposals).await;
    let indexes: Vec<u64> = applied.into_iter().map(|it| it.unwrap().index).collect();
    assert!(indexes.is_sorted());
    assert_eq!(cluster.commands(1), (0..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn follower_names_the_leader_and_takes_nothing() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let leader = Some(NodeId::new(1));
    let refused = cluster.group(2).propose(1).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader }));
    let refused = cluster.group(2).read_barrier().await;
    assert_eq!(refused, Err(ReadError::NotLeader { leader }));
}

#[tokio::test(start_paused = true)]
async fn command_written_before_the_leader_was_cut_off_is_unknown_and_never_refused() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    cluster.group(1).propose(1).await.unwrap();
    cluster.wires.isolate(NodeId::new(1));
    let lost = cluster.group(1).propose(2).await;
    assert_eq!(lost, Err(ProposeError::Unknown));
    // Another one leads by now, and what it decides stands; the lost command gives way.
    let (_, leader) = cluster.await_leader_among(&[2, 3]).await;
    let kept = cluster.group(leader).propose(3).await.unwrap();
    cluster.wires.heal();
    cluster.await_applied(1, kept.index).await;
    for node in [1, 2, 3] {
        cluster.await_applied(node, kept.index).await;
        assert_eq!(cluster.commands(node), [1, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn leader_without_a_majority_refuses_once_its_lease_is_over() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    cluster.wires.isolate(NodeId::new(1));
    let leader = cluster.group(1);
    let lease = Timings::Wan.leader_lease();
    tokio::time::sleep(lease * 2).await;
    let refused = leader.propose_within(1, Duration::from_secs(1)).await;
    assert_eq!(refused, Err(ProposeError::LeaseLapsed));
    assert_eq!(leader.read_barrier().await, Err(ReadError::NoQuorum));
    assert!(!leader.status().leads_within(lease));
}

#[tokio::test(start_paused = true)]
async fn first_proposal_of_a_fresh_leader_waits_for_its_majority() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    cluster.wires.set_delay(Duration::from_millis(100));
    cluster.wires.isolate(NodeId::new(1));
    let [second, third] = [2, 3].map(|node| cluster.group(node));
    let (mut left, mut right) = (second.watch(), third.watch());
    let fresh = tokio::select! {
        status = left.wait_for(|status| status.is_leader()) => { drop(status); second }
        status = right.wait_for(|status| status.is_leader()) => { drop(status); third }
    };
    assert_eq!(fresh.status().since_quorum(), None);
    let at_once = fresh.propose_within(1, Duration::ZERO).await;
    assert_eq!(at_once, Err(ProposeError::LeaseLapsed));
    let Applied { outcome, .. } = fresh.propose(2).await.unwrap();
    assert_eq!(outcome, 0);
}

#[tokio::test(start_paused = true)]
async fn read_barrier_shows_what_was_acknowledged_elsewhere_before() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    cluster.group(1).propose(1).await.unwrap();
    cluster
        .group(1)
        .transfer_leader(NodeId::new(2), Duration::from_secs(5))
        .await
        .unwrap();
    let started = now();
    cluster.group(2).read_barrier().await.unwrap();
    assert_eq!(cluster.commands(2), [1]);
    assert!(started.elapsed() < Timings::Wan.leader_lease());
}

#[tokio::test(start_paused = true)]
async fn command_over_the_limit_is_refused_before_it_reaches_the_log() {
    let cluster = Cluster::of_three(Timings::Wan).await;
    let before = cluster.group(1).status().last_log;
    let refused = cluster.group(1).propose(super::counter::HUGE).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })));
    assert_eq!(cluster.group(1).status().last_log, before);
}

#[tokio::test(start_paused = true)]
async fn stopped_replica_says_so() {
    let mut cluster = Cluster::of_three(Timings::Wan).await;
    let group = cluster.group(1).clone();
    cluster.stop(1).await;
    assert_eq!(group.propose(1).await, Err(ProposeError::Stopped));
    assert_eq!(group.read_barrier().await, Err(ReadError::Stopped));
    assert_eq!(group.status().fatal, None);
}

#[tokio::test(start_paused = true)]
async fn machine_that_panics_stops_its_replica_and_says_where() {
    let mut cluster = Cluster::new(Timings::Lan);
    let group = cluster.start(1).await;
    group.initialize().await.unwrap();
    cluster.await_leader().await;
    let lost = group.propose(super::counter::POISON).await;
    assert_eq!(lost, Err(ProposeError::Unknown));
    let broken = |status: &crate::status::GroupStatus| status.fatal.is_some();
    let status = cluster.await_status(&group, broken).await;
    assert!(
        status
            .fatal
            .unwrap()
            .contains("panicked on the entry at index")
    );
}
