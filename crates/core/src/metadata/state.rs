//! The replicated state, and the indexes kept beside it.
//!
//! What is stored is who joined, which shards and which queues there are; regions, joins by nonce and the owners of
//! slices follow from that. Both ways in, a command and a snapshot, go through the same two inserts, so that an
//! index can never tell another story than the records.

use std::collections::BTreeMap;

use leasehold_types::{JobId, NodeId, QueueName, RecordFormat, RegionName, ShardId, VirtualShard};

use super::records::{Founding, NodeRecord, QueueRecord, RegionRecord, ShardRecord};

/// What all regions agree on, as of one entry of the metadata log. Changed by [`MetadataState::apply`] only.
///
/// Holds at all times: before the founding there is nothing else; node ids are the indexes of the entries that
/// added them; shard ids run from 1 without gaps, one shard a region, with adjoining runs of slices; a queue has at
/// least one shard, and all of its shards exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataState {
    pub(super) applied: u64,
    pub(super) founding: Option<Founding>,
    pub(super) format: RecordFormat,
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(super) shards: BTreeMap<ShardId, ShardRecord>,
    pub(super) queues: BTreeMap<QueueName, QueueRecord>,
    regions: BTreeMap<RegionName, RegionRecord>,
    joins: BTreeMap<u128, NodeId>,
    /// The first slice of each run, and whose it is.
    runs: BTreeMap<VirtualShard, ShardId>,
}

impl MetadataState {
    /// Index of the last entry applied; 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// How the cluster was founded; none before.
    #[must_use]
    pub const fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// Every node, in the order of ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// The node that joined with this nonce.
    #[must_use]
    pub fn node_of_nonce(&self, nonce: u128) -> Option<&NodeRecord> {
        self.nodes.get(self.joins.get(&nonce)?)
    }

    /// The node that other nodes find at an address.
    pub(super) fn node_at(&self, peer: &str) -> Option<&NodeRecord> {
        self.nodes().find(|node| node.addresses.peer == peer)
    }

    /// Every region, in the order of names.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = &RegionRecord> {
        self.regions.values()
    }

    /// One region.
    #[must_use]
    pub fn region(&self, name: &RegionName) -> Option<&RegionRecord> {
        self.regions.get(name)
    }

    /// The other regions, in the order of names, beginning after this one and coming round.
    pub fn regions_after(&self, name: &RegionName) -> impl Iterator<Item = &RegionRecord> {
        let later = self.regions().filter(move |region| &region.name > name);
        later.chain(self.regions().take_while(move |region| &region.name < name))
    }

    /// Every shard, oldest first.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &ShardRecord> {
        self.shards.values()
    }

    /// One shard.
    #[must_use]
    pub fn shard(&self, id: ShardId) -> Option<&ShardRecord> {
        self.shards.get(&id)
    }

    /// Every queue, in the order of names.
    pub fn queues(&self) -> impl ExactSizeIterator<Item = &QueueRecord> {
        self.queues.values()
    }

    /// One queue.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> Option<&QueueRecord> {
        self.queues.get(name)
    }

    /// The shard that holds a slice of the job id space; none while no shard was given it.
    #[must_use]
    pub fn shard_of(&self, slice: VirtualShard) -> Option<ShardId> {
        let (_, id) = self.runs.range(..=slice).next_back()?;
        let shard = self.shards.get(id)?;
        shard.holds(slice).then_some(*id)
    }

    /// The shard that holds a job.
    #[must_use]
    pub fn shard_of_job(&self, job: JobId) -> Option<ShardId> {
        self.shard_of(job.virtual_shard())
    }

    /// Slices that shards were given so far: they adjoin, so this is also the next free one.
    #[must_use]
    pub fn slices_used(&self) -> u16 {
        let newest = self.shards.values().next_back();
        newest.map_or(0, ShardRecord::end)
    }

    /// How many more shards the slices left can hold; 0 before the founding.
    #[must_use]
    pub fn shards_left(&self) -> u16 {
        let total = self.founding().map_or(0, |f| f.virtual_shards);
        total.saturating_sub(self.slices_used()) / super::SLICES_PER_SHARD
    }

    /// A state with no records yet.
    pub(super) fn empty(applied: u64, founding: Option<Founding>, format: RecordFormat) -> Self {
        Self {
            applied,
            founding,
            format,
            ..Self::default()
        }
    }

    pub(super) fn insert_node(&mut self, node: NodeRecord) {
        let region = self.regions.entry(node.region.clone());
        let region = region.or_insert_with_key(|name| RegionRecord {
            name: name.clone(),
            nodes: [].into(),
            shard: None,
        });
        region.nodes.insert(node.id);
        self.joins.insert(node.nonce, node.id);
        self.nodes.insert(node.id, node);
    }

    pub(super) fn insert_shard(&mut self, shard: ShardRecord) {
        if let Some(region) = self.regions.get_mut(&shard.home) {
            region.shard = Some(shard.id);
        }
        self.runs.insert(shard.first_virtual, shard.id);
        self.shards.insert(shard.id, shard);
    }
}
