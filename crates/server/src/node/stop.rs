//! Stopping in good order.

use std::time::Duration;

use futures_util::future::{join, join_all, join3};
use leasehold_consensus::{Group, Machine};
use tokio::time::timeout;

use super::Node;
use super::watch::hand_over_metadata;
use crate::http::Ready;

/// See [`Node::stop`].
pub(super) async fn stop(mut node: Node) {
    tracing::info!("stopping");
    node.readiness.set(Ready::No("stopping".into()));
    let (handover, drain) = (node.shutdown.handover(), node.shutdown.drain());
    node.openings.end().await;
    settle_all(&node, handover).await;
    join3(
        node.sessions.leave(drain),
        node.shards.stop(handover),
        hand_over_metadata(&node.cluster, handover),
    )
    .await;
    node.doors.close(drain).await;
    close(&node).await;
    tracing::info!("stopped");
}

/// See [`Node::halt`].
pub(super) async fn halt(mut node: Node) {
    // First the way to the others: nobody must hear of it.
    node.cluster.peers().stop().await;
    node.doors.slam();
    node.doors.close(Duration::ZERO).await;
    node.openings.end().await;
    join(
        node.sessions.leave(Duration::ZERO),
        node.shards.stop(Duration::ZERO),
    )
    .await;
    close(&node).await;
}

async fn close(node: &Node) {
    node.tasks.end().await;
    node.cluster.peers().stop().await;
    node.cluster.group().shutdown().await;
    node.store.close();
}

/// Waits until no group led here is between two sets of voters.
///
/// SUBTLE: half way, a majority of the voters from before is still needed, and when that was this node alone, the
/// others can decide nothing until it is back.
async fn settle_all(node: &Node, within: Duration) {
    let shards = node.shards.ids().into_iter();
    let shards = shards.filter_map(|shard| node.shards.group(shard));
    let settling = join_all(shards.map(|group| async move { settle(&group).await }));
    let both = join(settling, settle(node.cluster.group()));
    if timeout(within, both).await.is_err() {
        tracing::warn!(?within, "stopping in the middle of a change of members");
    }
}

async fn settle<M: Machine>(group: &Group<M>) {
    let mut status = group.watch();
    // The sender is gone when the group stopped by itself: then there is nothing to wait for.
    let _ = status
        .wait_for(|status| !status.is_leader() || !status.changing)
        .await;
}
