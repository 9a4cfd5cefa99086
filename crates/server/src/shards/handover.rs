//! Giving a shard's leadership to another replica, as well as that can be done.

use std::time::Duration;

use leasehold_consensus::{ChangeError, Group, GroupStatus};
use leasehold_core::shard::ShardState;
use leasehold_types::NodeId;

/// Hands leadership to the voter that has most of the log, within `within`. Does nothing when this node does not lead
/// or is the only voter.
///
/// # Errors
/// See [`ChangeError`].
pub(super) async fn hand_over(
    group: &Group<ShardState>,
    within: Duration,
) -> Result<Option<NodeId>, ChangeError> {
    let status = group.status();
    let Some(to) = best_successor(&status) else {
        return Ok(None);
    };
    group.transfer_leader(to, within).await?;
    Ok(Some(to))
}

/// The voter that has most of the log, and among equals the one that was heard last.
fn best_successor(status: &GroupStatus) -> Option<NodeId> {
    if !status.is_leader() {
        return None;
    }
    let voters = status
        .followers
        .iter()
        .filter(|(node, _)| status.voters.contains(node));
    let best = voters.max_by_key(|(_, follower)| {
        let silence = follower.since_heard().unwrap_or(Duration::MAX);
        (follower.matched, std::cmp::Reverse(silence))
    });
    best.map(|(node, _)| *node)
}
