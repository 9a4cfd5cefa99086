//! Stopping in good order.

use futures_util::future::{join, join3};
use leasehold_consensus::{Group, Machine};
use leasehold_types::NodeId;
use std::time::Duration;

use super::Node;
use crate::http::Ready;

/// See [`Node::stop`].
pub(super) async fn stop(mut node: Node) {
    tracing::info!("stopping");
    node.readiness.set(Ready::No("stopping".into()));
    let (handover, drain) = (node.shutdown.handover(), node.shutdown.drain());
    join3(
        node.sessions.leave(drain),
        node.shards.stop(handover),
        hand_over(node.cluster.group(), handover),
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

/// Gives the metadata's leadership to the voter that is furthest, if this node has it.
async fn hand_over<M: Machine>(group: &Group<M>, within: Duration) {
    let status = group.status();
    let Some(to) = successor(&status) else {
        return;
    };
    match group.transfer_leader(to, within).await {
        Ok(()) => tracing::info!(group = %group.id(), %to, "leadership handed over"),
        Err(error) => {
            tracing::warn!(group = %group.id(), %to, %error, "leadership not handed over")
        }
    }
}

fn successor(status: &leasehold_consensus::GroupStatus) -> Option<NodeId> {
    if !status.is_leader() {
        return None;
    }
    let voters = status
        .followers
        .iter()
        .filter(|(node, _)| status.voters.contains(node));
    voters
        .max_by_key(|(_, follower)| follower.matched)
        .map(|(node, _)| *node)
}
