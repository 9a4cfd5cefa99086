//! The head of a shard's checkpoint: the shard's own numbers, and its policies.

use std::sync::Arc;

use bytes::Bytes;
use leasehold_core::shard::state::{FrozenHead, Owner, PlacedPolicy, ShardHead};
use leasehold_types::{BootCount, Incarnation, NodeId, QueueName, ShardEpoch};

use crate::error::DecodeError;
use crate::field::{In, encoded, stamp, text};
use crate::store::v1;

/// How this version writes the rows of a shard, and the newest that it reads.
const FORMAT: u32 = 1;

const HEAD: In = In("ShardHead");
const POLICY: In = In("PlacedPolicy");

/// The bytes of a shard's head.
#[must_use]
pub fn encode_head(frozen: &FrozenHead) -> Bytes {
    let FrozenHead { head, policies } = frozen;
    let policies = policies.iter().map(|(queue, placed)| policy(queue, placed));
    encoded(&v1::ShardHead {
        format: FORMAT,
        incarnation: head.incarnation.get().into(),
        epoch: head.epoch.get(),
        owner: head.owner.map(Into::into),
        stamp_us: head.stamp.as_micros(),
        granted: head.granted,
        arrivals: head.arrivals,
        policies: policies.collect(),
    })
}

/// Reads back what [`encode_head`] gave.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_head(bytes: Bytes) -> Result<FrozenHead, DecodeError> {
    let head: v1::ShardHead = HEAD.message(bytes)?;
    check_format(head.format)?;
    let placed = head.policies.into_iter().map(read_policy);
    let policies = placed.collect::<Result<_, _>>()?;
    let head = ShardHead {
        incarnation: Incarnation::new(HEAD.narrow("incarnation", head.incarnation)?),
        epoch: ShardEpoch::new(head.epoch),
        owner: head.owner.map(Into::into),
        stamp: stamp(head.stamp_us),
        granted: head.granted,
        arrivals: head.arrivals,
    };
    Ok(FrozenHead { head, policies })
}

fn check_format(format: u32) -> Result<(), DecodeError> {
    match format {
        FORMAT => Ok(()),
        0 => Err(HEAD.missing("format")),
        format => Err(DecodeError::UnknownFormat {
            message: HEAD.0,
            format,
            known: FORMAT,
        }),
    }
}

impl From<Owner> for v1::ShardOwner {
    fn from(owner: Owner) -> Self {
        Self {
            node: owner.node.get(),
            boot: owner.boot.get(),
        }
    }
}

impl From<v1::ShardOwner> for Owner {
    fn from(owner: v1::ShardOwner) -> Self {
        Self {
            node: NodeId::new(owner.node),
            boot: BootCount::new(owner.boot),
        }
    }
}

fn policy(queue: &QueueName, placed: &PlacedPolicy) -> v1::PlacedPolicy {
    v1::PlacedPolicy {
        queue: text(queue),
        policy: Some(placed.policy.as_ref().into()),
        index: placed.index,
    }
}

fn read_policy(placed: v1::PlacedPolicy) -> Result<(QueueName, PlacedPolicy), DecodeError> {
    let queue = POLICY.name("queue", &placed.queue)?;
    let policy = PlacedPolicy {
        policy: Arc::new(POLICY.nested("policy", placed.policy)?),
        index: placed.index,
    };
    Ok((queue, policy))
}
