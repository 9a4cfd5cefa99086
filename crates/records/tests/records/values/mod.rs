//! Random values of everything that is stored: the words here, what is made of them in the modules.

pub(crate) mod jobs;
pub(crate) mod metadata;
pub(crate) mod shard;

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use leasehold_core::policy::{BackoffPolicy, Placement, QueuePolicy};
use leasehold_core::requirement::Requirement;
use leasehold_types::{
    Digest, FenceToken, Incarnation, JobId, SessionId, ShardEpoch, Timestamp, VirtualShard,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// A name of any kind: all of them take these characters.
pub(crate) fn name<T>() -> impl Strategy<Value = T>
where
    T: FromStr<Err: std::fmt::Debug> + std::fmt::Debug,
{
    "[a-z0-9._-]{1,12}".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn job() -> impl Strategy<Value = JobId> {
    any::<(u16, [u8; 12])>().prop_map(|(slice, bits)| JobId::new(VirtualShard::new(slice), bits))
}

pub(crate) fn session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId::from_random)
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::new)
}

pub(crate) fn fence() -> impl Strategy<Value = FenceToken> {
    any::<(u16, u64, u64)>().prop_map(|(incarnation, epoch, sequence)| {
        FenceToken::new(
            Incarnation::new(incarnation),
            ShardEpoch::new(epoch),
            sequence,
        )
    })
}

pub(crate) fn stamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

/// Down to single nanoseconds, up to the longest there is.
pub(crate) fn span() -> impl Strategy<Value = Duration> {
    let odd = (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n));
    prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), odd]
}

pub(crate) fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..80).prop_map(Bytes::from)
}

pub(crate) fn requirement() -> impl Strategy<Value = Requirement> {
    let labels = btree_map(".{0,6}", ".{0,6}", 0..3);
    let capacity = btree_map(".{0,6}", any::<u64>(), 0..3);
    (labels, capacity).prop_map(|(labels, capacity)| Requirement {
        labels: labels
            .into_iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect(),
        capacity: capacity.into_iter().map(|(n, c)| (n.into(), c)).collect(),
    })
}

pub(crate) fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![Just(Placement::Global), Just(Placement::Regional)]
}

prop_compose! {
    /// In bounds or not: a log holds refused policies too.
    pub(crate) fn policy()(
        tenant in name(),
        placement in placement(),
        (lease, attempt_limit, job_deadline) in (span(), span(), span()),
        stall_limit in option::of(span()),
        requeue_on_verdict: bool,
        (max_attempts, max_losses) in any::<(u32, u32)>(),
        (base, cap) in (span(), span()),
        (retain_done, retain_failed, retain_keys) in (span(), span(), span()),
    ) -> QueuePolicy {
        QueuePolicy {
            tenant, placement, lease, stall_limit, attempt_limit, job_deadline, requeue_on_verdict,
            max_attempts, max_losses, backoff: BackoffPolicy { base, cap },
            retain_done, retain_failed, retain_keys,
        }
    }
}
