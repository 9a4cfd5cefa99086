//! The way of Raft's messages: consensus asks, the peers carry.

use std::time::Duration;

use futures_util::future::BoxFuture;
use leasehold_api::v1;
use leasehold_api::v1::peer_frame::Body;
use leasehold_consensus::{SnapshotParts, Transport, TransportError};
use leasehold_types::{GroupId, NodeId};

use super::call;
use super::lane::LaneError;
use super::link::Stream;
use super::links::Peers;
use super::snapshot;

impl Transport for Peers {
    fn call(
        &self,
        to: NodeId,
        group: GroupId,
        request: v1::RaftRequest,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>> {
        let peers = self.clone();
        let body = Body::Raft(v1::RaftCall {
            group_id: group.get(),
            request: Some(request),
        });
        Box::pin(async move {
            let answer = peers.exchange(to, Stream::Raft, body, ttl).await;
            reply(to, answer.map_err(|error| failure(to, error))?)
        })
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        group: GroupId,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
        patience: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>> {
        let peers = self.clone();
        Box::pin(async move {
            let sending = snapshot::send(peers.context(), to, group, head, parts, patience);
            let sent = Box::pin(sending).await;
            sent.map_err(|error| failure(to, error))
        })
    }
}

fn reply(to: NodeId, answer: Body) -> Result<v1::RaftReply, TransportError> {
    if let Body::RaftReply(reply) = answer {
        return Ok(reply);
    }
    if let Body::Error(error) = answer {
        // The node is there and its replica is not, or not yet.
        let reason = error.message;
        return Err(TransportError::Unreachable { to, reason });
    }
    let reason = format!("it answered with {}", call::name(&answer));
    Err(TransportError::Broken { to, reason })
}

fn failure(to: NodeId, error: LaneError) -> TransportError {
    match error {
        LaneError::NotSent(reason) => TransportError::Unreachable { to, reason },
        LaneError::TimedOut(ttl) => TransportError::TimedOut { to, ttl },
        LaneError::Broken(reason) => TransportError::Broken { to, reason },
    }
}
