//! Where a job goes: the slice of its idempotency key, and the order of shards for a job without one.
//!
//! A key must lead to the same slice for as long as the cluster lives, through every gateway and every version, or
//! one request becomes two jobs that no shard can tell apart. So the hash is written out here and its values are
//! held by a test, and it runs over the shards that the queue was created with, never over those of today.

use leasehold_types::{IdempotencyKey, RegionName, ShardId, TenantName, VirtualShard};

use super::records::QueueRecord;
use super::state::MetadataState;

/// The slice that a caller's own key leads to, for good. None only when the queue is newer than the state.
///
/// The hash is 64-bit FNV-1a over the tenant, a zero byte, the queue, a zero byte and the key (names and keys hold
/// no zero bytes), stirred once with the finaliser of SplitMix64, since FNV's low bits alone are weak. Its remainder
/// by `keyed` picks one of the queue's first `keyed` shards, the quotient one of that shard's slices.
#[must_use]
pub fn virtual_shard_for_key(
    queue: &QueueRecord,
    state: &MetadataState,
    tenant: &TenantName,
    key: &IdempotencyKey,
) -> Option<VirtualShard> {
    let hash = key_hash(tenant.as_str(), queue.name.as_str(), key.as_str());
    let keyed = u64::from(queue.keyed);
    let position = usize::try_from(hash.checked_rem(keyed)?).ok()?;
    let shard = state.shard(*queue.shards.get(position)?)?;
    Some(shard.slice(hash / keyed))
}

/// The shards of a queue in the order in which a gateway of this region should offer them a job without a key: the
/// one at home in the region, then the others, oldest first.
#[must_use]
pub fn home_shards(
    state: &MetadataState,
    queue: &QueueRecord,
    region: &RegionName,
) -> Vec<ShardId> {
    let at_home = state.region(region).and_then(|region| region.shard);
    let mut shards = queue.shards.clone();
    shards.sort_by_key(|id| Some(*id) != at_home);
    shards
}

fn key_hash(tenant: &str, queue: &str, key: &str) -> u64 {
    let bytes = [tenant, "\0", queue, "\0", key];
    stir(
        bytes
            .iter()
            .flat_map(|part| part.bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            }),
    )
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
const fn stir(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
