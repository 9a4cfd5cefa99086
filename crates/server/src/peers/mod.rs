//! The way between the nodes of one cluster.
//!
//! Each node dials each other node once and makes all of its calls over that connection, on two streams: one for Raft,
//! one for work, so that a large payload cannot hold up a heartbeat. Calls and answers are matched by number; a
//! snapshot travels on a connection of its own. Both ends of a connection say who they are before anything else, and
//! either ends it with an error that names both sides and the way out.
//!
//! What must hold:
//! - Every call ends within the time it was given, whatever the network does.
//! - "Certainly not done" is said only of a call that never left this node; see [`CallError`].
//! - A connection that was silent for a while is dropped and dialled anew: a cut link eats bytes and stays open.
//! - Queues are bounded; what does not fit waits within the call's own time and is then not sent.

mod answer;
mod book;
mod call;
pub(crate) mod cut;
mod dial;
mod exchange;
mod hello;
mod lane;
mod link;
mod links;
mod missed;
mod protocol;
mod serve;
mod snapshot;
#[cfg(test)]
mod tests;
mod transport;

use std::time::Duration;

use futures_util::future::BoxFuture;
use leasehold_api::{ApiError, v1};
use leasehold_consensus::SnapshotParts;
use leasehold_types::{GroupId, NodeId};

pub use call::CallError;
pub use dial::JoinCallError;
pub use hello::{HelloRefusal, LocalNode};
pub use links::{PeerOptions, Peers};
pub use protocol::{NoProtocol, PROTOCOL_MAX, PROTOCOL_MIN, Protocol, ProtocolRange};

/// Largest message between two nodes, in bytes. What is larger is refused before it is sent.
pub const FRAME_BYTES: usize = 16 * 1024 * 1024;

/// How long nodes give each other, from the timings of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// A connection that was silent for so long is dropped; half of it is when a sign of life is asked for.
    pub(crate) silence: Duration,
    /// Longest that dialling and both introductions may take.
    pub(crate) connect: Duration,
}

impl Patience {
    /// A leader's lease is the measure: a link that is quiet for longer cannot carry a group anyway. Not below a
    /// second, so that a machine out of breath does not lose all its links at once.
    pub(crate) fn of(timings: leasehold_consensus::Timings) -> Self {
        let silence = timings.leader_lease().max(Duration::from_secs(1));
        Self {
            silence,
            connect: silence,
        }
    }
}

/// What a node does with the calls of the others.
pub trait PeerHandler: Send + Sync + 'static {
    /// A message from another replica of a group. Messages of one peer are handed over in the order they were sent.
    fn raft(
        &self,
        group: GroupId,
        request: v1::RaftRequest,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>>;

    /// A snapshot that arrives from the leader of a group.
    fn snapshot(
        &self,
        group: GroupId,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>>;

    /// A gateway's call to a shard.
    fn shard(&self, call: v1::ShardCall) -> BoxFuture<'static, v1::ShardAnswer>;

    /// A change to the metadata, or a question about it.
    fn metadata(&self, call: v1::MetadataCall) -> BoxFuture<'static, v1::MetadataAnswer>;

    /// Jobs for this node's workers, and leases that ended.
    fn deliver(&self, delivery: v1::Delivery) -> BoxFuture<'static, v1::DeliveryAnswer>;

    /// A node that asks to join, or says that it started.
    fn join(&self, request: v1::JoinRequest) -> BoxFuture<'static, v1::JoinResponse>;
}

impl Peers {
    /// Asks a node that should lead a shard.
    ///
    /// # Errors
    /// [`CallError`] tells a call that never left from one whose outcome is not known.
    pub async fn call_shard(
        &self,
        to: NodeId,
        call: v1::ShardCall,
        ttl: Duration,
    ) -> Result<v1::ShardAnswer, CallError> {
        call::shard(self, to, call, ttl).await
    }

    /// Passes on what the metadata leader has to decide.
    ///
    /// # Errors
    /// As with [`Peers::call_shard`].
    pub async fn call_metadata(
        &self,
        to: NodeId,
        call: v1::MetadataCall,
        ttl: Duration,
    ) -> Result<v1::MetadataAnswer, CallError> {
        call::metadata(self, to, call, ttl).await
    }

    /// Hands jobs to the gateway that has their workers.
    ///
    /// # Errors
    /// As with [`Peers::call_shard`].
    pub async fn deliver(
        &self,
        to: NodeId,
        delivery: v1::Delivery,
        ttl: Duration,
    ) -> Result<v1::DeliveryAnswer, CallError> {
        call::deliver(self, to, delivery, ttl).await
    }

    /// Asks the node at an address to let this one join, on a connection of its own.
    ///
    /// # Errors
    /// [`JoinCallError`]; a repeated join is the same join.
    pub async fn join(
        &self,
        address: &str,
        request: v1::JoinRequest,
        ttl: Duration,
    ) -> Result<v1::JoinResponse, JoinCallError> {
        dial::join(self.net(), address, request, ttl).await
    }
}

pub(crate) use dial::join;
