//! One call to one node, and the two ways in which it can come to nothing.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::peer_frame::Body;
use leasehold_types::NodeId;

use super::Peers;
use super::lane::LaneError;
use super::link::Stream;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call never left this node: it is certainly not done.
    #[error("{to} was not called: {reason}")]
    NotSent {
        /// Who was meant, a node or an address.
        to: String,
        /// What stood in the way.
        reason: String,
    },
    /// The call was sent and no answer came: it may have been done or not.
    #[error("{to} was called and gave no answer: {reason}")]
    Unknown {
        /// Who was called, a node or an address.
        to: String,
        /// What became of the connection, or of the time.
        reason: String,
    },
}

impl CallError {
    pub(super) fn of(to: NodeId, error: LaneError) -> Self {
        let to = format!("node {to}");
        match error {
            LaneError::NotSent(reason) => Self::NotSent { to, reason },
            LaneError::TimedOut(ttl) => {
                let reason = format!("none came within {ttl:?}");
                Self::Unknown { to, reason }
            }
            LaneError::Broken(reason) => Self::Unknown { to, reason },
        }
    }
}

/// The other side could not carry a call out and says so, but its error is no answer of the call's own kind.
fn odd(to: NodeId, what: &str) -> CallError {
    CallError::Unknown {
        to: format!("node {to}"),
        reason: format!("it answered with {what}"),
    }
}

async fn work(peers: &Peers, to: NodeId, body: Body, ttl: Duration) -> Result<Body, CallError> {
    let answer = peers.exchange(to, Stream::Work, body, ttl).await;
    answer.map_err(|error| CallError::of(to, error))
}

pub(super) async fn shard(
    peers: &Peers,
    to: NodeId,
    call: v1::ShardCall,
    ttl: Duration,
) -> Result<v1::ShardAnswer, CallError> {
    let body = work(peers, to, Body::Shard(call), ttl).await?;
    if let Body::ShardAnswer(answer) = body {
        return Ok(answer);
    }
    if let Body::Error(error) = body {
        let answer = Some(v1::shard_answer::Answer::Error(error));
        return Ok(v1::ShardAnswer { answer });
    }
    Err(odd(to, name(&body)))
}

pub(super) async fn metadata(
    peers: &Peers,
    to: NodeId,
    call: v1::MetadataCall,
    ttl: Duration,
) -> Result<v1::MetadataAnswer, CallError> {
    let body = work(peers, to, Body::Metadata(call), ttl).await?;
    if let Body::MetadataAnswer(answer) = body {
        return Ok(answer);
    }
    if let Body::Error(error) = body {
        let answer = Some(v1::metadata_answer::Answer::Error(error));
        return Ok(v1::MetadataAnswer { answer });
    }
    Err(odd(to, name(&body)))
}

pub(super) async fn deliver(
    peers: &Peers,
    to: NodeId,
    delivery: v1::Delivery,
    ttl: Duration,
) -> Result<v1::DeliveryAnswer, CallError> {
    let body = work(peers, to, Body::Delivery(delivery), ttl).await?;
    if let Body::DeliveryAnswer(answer) = body {
        return Ok(answer);
    }
    if let Body::Error(error) = body {
        // Refused before anybody looked at it: nothing was delivered.
        return Err(CallError::NotSent {
            to: format!("node {to}"),
            reason: error.message,
        });
    }
    Err(odd(to, name(&body)))
}

/// What a message is called, for errors.
pub(super) const fn name(body: &Body) -> &'static str {
    match body {
        Body::Hello(_) => "a hello",
        Body::Raft(_) => "a call of a group",
        Body::RaftReply(_) => "an answer of a group",
        Body::Shard(_) => "a call to a shard",
        Body::ShardAnswer(_) => "an answer of a shard",
        Body::Metadata(_) => "a call to the metadata",
        Body::MetadataAnswer(_) => "an answer of the metadata",
        Body::Delivery(_) => "a delivery",
        Body::DeliveryAnswer(_) => "an answer to a delivery",
        Body::Error(_) => "an error",
        Body::Ping(_) => "a ping",
        Body::Pong(_) => "a pong",
    }
}
