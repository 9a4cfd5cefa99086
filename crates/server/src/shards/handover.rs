//! Giving a group's leadership to another replica, as well as that can be done.

use std::time::Duration;

use leasehold_consensus::{ChangeError, Group, GroupStatus, Machine};
use leasehold_types::NodeId;
use tokio::time::sleep;

use crate::peers::Peers;

/// How often it is looked whether the successor is still there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of a handover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handover {
    /// This node does not lead, or nobody else can: nothing was asked for.
    Needless,
    /// Another node leads.
    Passed(NodeId),
    /// The successor was lost on the way. An election settles who leads; nothing is written until then.
    SuccessorLost(NodeId),
}

/// Hands leadership to the voter that has most of the log among those that can be reached, within `within`. Gives up
/// when that voter can be reached no longer: nodes are often stopped together, and the last has nobody to wait for.
///
/// # Errors
/// See [`ChangeError`].
pub(crate) async fn hand_over<M: Machine>(
    group: &Group<M>,
    peers: &Peers,
    within: Duration,
) -> Result<Handover, ChangeError> {
    let status = group.status();
    let Some(to) = best_successor(&status, |node| peers.is_reachable(node)) else {
        return Ok(Handover::Needless);
    };
    tokio::select! {
        biased;
        passed = group.transfer_leader(to, within) => passed.map(|()| Handover::Passed(to)),
        () = lost(peers, to) => Ok(Handover::SuccessorLost(to)),
    }
}

async fn lost(peers: &Peers, node: NodeId) {
    while peers.is_reachable(node) {
        sleep(LOOK_EVERY).await;
    }
}

/// The voter that has most of the log, and among equals the one that was heard last.
fn best_successor(status: &GroupStatus, is_reachable: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    if !status.is_leader() {
        return None;
    }
    let voters = status
        .followers
        .iter()
        .filter(|(node, _)| status.voters.contains(node) && is_reachable(**node));
    let best = voters.max_by_key(|(_, follower)| {
        let silence = follower.since_heard().unwrap_or(Duration::MAX);
        (follower.matched, std::cmp::Reverse(silence))
    });
    best.map(|(node, _)| *node)
}
