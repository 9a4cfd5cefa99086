//! What the metadata holds about nodes, regions, shards and queues.

use std::collections::BTreeSet;

use leasehold_types::{Boot, ClusterId, NodeId, QueueName, RegionName, ShardId, VirtualShard};

use super::command::{Addresses, Build};
use crate::policy::{Placement, QueuePolicy, Timings};

/// How the cluster was founded; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Slices of the job id space.
    pub virtual_shards: u16,
    /// Timings of every group.
    pub timings: Timings,
    /// Regions that the cluster starts with.
    pub regions: u16,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Where it was last reached.
    pub addresses: Addresses,
    /// The newest start seen.
    pub boot: Boot,
    /// What it runs.
    pub build: Build,
    /// What it joined with.
    pub nonce: u128,
}

/// One region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRecord {
    /// Its name.
    pub name: RegionName,
    /// Its nodes.
    pub nodes: BTreeSet<NodeId>,
    /// The shard that is at home here, once it has one.
    pub shard: Option<ShardId>,
}

/// One shard. Its group's own Raft configuration is the truth about its members; this is the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRecord {
    /// Its id, also its group's.
    pub id: ShardId,
    /// Where its leader lives when all is well.
    pub home: RegionName,
    /// Where its replicas live.
    pub placement: Placement,
    /// The one node that initialises the group, on an empty store.
    pub initial: NodeId,
    /// Who shall vote.
    pub voters: BTreeSet<NodeId>,
    /// Index of the entry that said so.
    pub intent: u64,
    /// The first of its slices of the job id space.
    pub first_virtual: VirtualShard,
    /// How many slices, one after the other.
    pub virtual_count: u16,
}

impl ShardRecord {
    /// Whether a slice is one of this shard's.
    #[must_use]
    pub fn holds(&self, slice: VirtualShard) -> bool {
        (self.first_virtual.get()..self.end()).contains(&slice.get())
    }

    /// The slice that a number falls on: of a random one for a new job id, of a hash for an idempotency key.
    #[must_use]
    pub fn slice(&self, number: u64) -> VirtualShard {
        let offset = number % u64::from(self.virtual_count.max(1));
        let offset = u16::try_from(offset).expect("less than the count, which has 16 bits");
        VirtualShard::new(self.first_virtual.get().saturating_add(offset))
    }

    /// The first slice after this shard's.
    pub(super) const fn end(&self) -> u16 {
        self.first_virtual.get().saturating_add(self.virtual_count)
    }
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its name.
    pub name: QueueName,
    /// Its policy.
    pub policy: QueuePolicy,
    /// Index of the entry that set the policy.
    pub index: u64,
    /// Shards that take its jobs, oldest first; grows when regions join.
    pub shards: Vec<ShardId>,
    /// So many of the first of them are hashed over by idempotency keys: recorded when the queue was made, never
    /// recomputed.
    pub keyed: u16,
}
