//! How messages reach other replicas. The server implements it over one multiplexed stream per peer.

use std::time::Duration;

use futures_util::future::BoxFuture;
use leasehold_api::v1;
use leasehold_types::{GroupId, NodeId};

use crate::snapshot::SnapshotParts;

/// Carries a group's messages to the replica of that group on another node.
///
/// Calls to one node should arrive in the order in which their futures were first polled: several appends are under
/// way at once, and one that overtakes another has to be sent again. Nothing worse comes of it.
pub trait Transport: Send + Sync + 'static {
    /// Asks one question and gives up once `ttl` has passed.
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        request: v1::RaftRequest,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>>;

    /// Sends a whole snapshot, on a connection of its own and no faster than the other traffic can bear, and gives up
    /// once nothing has moved for `patience`. An error among the parts ends it.
    fn send_snapshot(
        &self,
        to: NodeId,
        group: GroupId,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
        patience: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>>;
}

/// Why a question got no answer. In every case it may or may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no way to the node at present: asking again at once is of no use.
    #[error("node {to} cannot be reached: {reason}")]
    Unreachable {
        /// The node asked.
        to: NodeId,
        /// What stood in the way, for people.
        reason: String,
    },
    /// No answer came in time.
    #[error("node {to} did not answer within {ttl:?}")]
    TimedOut {
        /// The node asked.
        to: NodeId,
        /// How long it was given.
        ttl: Duration,
    },
    /// The connection broke while the answer was awaited: asking again may help.
    #[error("connection to node {to} broke: {reason}")]
    Broken {
        /// The node asked.
        to: NodeId,
        /// How it broke, for people.
        reason: String,
    },
}
