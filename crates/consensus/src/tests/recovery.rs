//! What a replica knows after it was down.

use super::cluster::{Cluster, SOON};
use crate::group::ProposeError;
use crate::status::GroupStatus;
use crate::timings::Timings;

#[tokio::test(start_paused = true)]
async fn restarted_replica_shows_what_it_had_from_snapshot_and_log() {
    let mut cluster = Cluster::new(Timings::Wan);
    cluster.retention = SOON;
    cluster.found().await;
    for command in 0..35 {
        cluster.group(1).propose(command).await.unwrap();
        if command == 20 {
            let covered = |status: &GroupStatus| status.snapshot == status.applied;
            cluster.await_status(cluster.group(1), covered).await;
        }
    }
    cluster.stop(1).await;
    let group = cluster.start(1).await;
    // Before it has heard from anybody: all but the last, which was committed and not yet written down as such.
    assert_eq!(cluster.commands(1), (0..34).collect::<Vec<_>>());
    assert!(group.status().snapshot > 0);
}

#[tokio::test(start_paused = true)]
async fn all_replicas_down_at_once_lose_nothing_acknowledged() {
    let mut cluster = Cluster::of_three(Timings::Wan).await;
    for command in 0..20 {
        cluster.group(1).propose(command).await.unwrap();
    }
    for node in [1, 2, 3] {
        cluster.stop(node).await;
    }
    for node in [1, 2, 3] {
        cluster.start(node).await;
    }
    let leader = cluster.await_leader().await;
    let last = cluster.group(leader).propose(20).await.unwrap();
    for node in [1, 2, 3] {
        cluster.await_applied(node, last.index).await;
        assert_eq!(cluster.commands(node), (0..=20).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn single_voter_leads_again_after_a_restart() {
    let mut cluster = Cluster::new(Timings::Lan);
    cluster.start(1).await.initialize().await.unwrap();
    cluster.await_leader().await;
    cluster.group(1).propose(1).await.unwrap();
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.await_leader().await;
    cluster.group(1).propose(2).await.unwrap();
    cluster.group(1).read_barrier().await.unwrap();
    assert_eq!(cluster.commands(1), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn replica_whose_disk_fails_stops_and_another_takes_over() {
    let cluster = Cluster::of_three(Timings::Lan).await;
    cluster.group(1).propose(1).await.unwrap();
    cluster.log(1).fail();
    let lost = cluster.group(1).propose(2).await;
    assert!(
        matches!(lost, Ok(_) | Err(ProposeError::Unknown)),
        "{lost:?}"
    );
    let broken = |status: &GroupStatus| status.fatal.is_some();
    let status = cluster.await_status(cluster.group(1), broken).await;
    assert!(status.fatal.unwrap().contains("the disk is broken"));
    assert_eq!(
        cluster.group(1).propose(3).await,
        Err(ProposeError::Stopped)
    );
    let (_, leader) = cluster.await_leader_among(&[2, 3]).await;
    cluster.group(leader).propose(4).await.unwrap();
}

/// The runtime that production has: snapshots are written beside other work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_taken_and_restored_on_a_runtime_of_several_threads() {
    let mut cluster = Cluster::new(Timings::Lan);
    cluster.retention = SOON;
    let group = cluster.start(1).await;
    group.initialize().await.unwrap();
    cluster.await_leader().await;
    let mut last = 0;
    for command in 0..20 {
        last = group.propose(command).await.unwrap().index;
    }
    let taken = |status: &GroupStatus| status.snapshot >= 15;
    cluster.await_status(&group, taken).await;
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.await_leader().await;
    cluster.await_applied(1, last).await;
    assert_eq!(cluster.commands(1), (0..20).collect::<Vec<_>>());
}
