//! Takes granted jobs to the gateways that have their workers: this node's own, or another's.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_types::NodeId;

use crate::peers::{CallError, Peers};
use crate::workers::WorkerSessions;

/// Longest that a gateway is given to take jobs over. Its silence is not waited out: the lease decides.
const TTL: Duration = Duration::from_secs(5);

/// The way to every gateway's worker sessions. Cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    node: NodeId,
    sessions: WorkerSessions,
    peers: Peers,
}

impl Deliveries {
    /// `node` is this node; its own sessions are reached without a connection.
    #[must_use]
    pub fn new(node: NodeId, sessions: WorkerSessions, peers: Peers) -> Self {
        Self {
            node,
            sessions,
            peers,
        }
    }

    /// Hands a delivery to one gateway.
    ///
    /// # Errors
    /// [`CallError::NotSent`] when it certainly did not arrive; [`CallError::Unknown`] when it may have.
    pub(super) async fn deliver(
        &self,
        gateway: NodeId,
        delivery: v1::Delivery,
    ) -> Result<v1::DeliveryAnswer, CallError> {
        if gateway == self.node {
            return Ok(self.sessions.deliver(delivery).await);
        }
        self.peers.deliver(gateway, delivery, TTL).await
    }
}
