//! The state taken apart for a snapshot, and put together again.
//!
//! Only what cannot be derived is in the parts. What comes back from a disk is checked against every rule that
//! `apply` keeps: a damaged snapshot that passed its checksum is refused here, and not met later as a panic.

use leasehold_types::{NodeId, QueueName, RecordFormat, ShardId};

use super::records::{Founding, NodeRecord, QueueRecord, ShardRecord};
use super::state::MetadataState;

/// All of a [`MetadataState`] that is not derived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataParts {
    /// Index of the last entry applied.
    pub applied: u64,
    /// How the cluster was founded.
    pub founding: Option<Founding>,
    /// The records that leaders may write.
    pub format: RecordFormat,
    /// Every node, in the order of ids.
    pub nodes: Vec<NodeRecord>,
    /// Every shard, in the order of ids.
    pub shards: Vec<ShardRecord>,
    /// Every queue, in the order of names.
    pub queues: Vec<QueueRecord>,
}

/// Why parts do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// There is something, but no founding.
    #[error("metadata holds nodes, shards or queues, but no founding")]
    NotFounded,
    /// A node breaks a rule.
    #[error("metadata: node {0} {1}")]
    Node(NodeId, &'static str),
    /// A shard breaks a rule.
    #[error("metadata: shard {0} {1}")]
    Shard(ShardId, &'static str),
    /// A queue breaks a rule.
    #[error("metadata: queue {0} {1}")]
    Queue(QueueName, &'static str),
}

impl MetadataState {
    /// A copy of everything that is not derived.
    #[must_use]
    pub fn parts(&self) -> MetadataParts {
        MetadataParts {
            applied: self.applied,
            founding: self.founding.clone(),
            format: self.format,
            nodes: self.nodes().cloned().collect(),
            shards: self.shards().cloned().collect(),
            queues: self.queues().cloned().collect(),
        }
    }

    /// Puts a state together and rebuilds what is derived.
    ///
    /// # Errors
    /// [`PartsError`] names the first record that no sequence of commands could have made.
    pub fn from_parts(parts: MetadataParts) -> Result<Self, PartsError> {
        let empty = parts.nodes.is_empty() && parts.shards.is_empty() && parts.queues.is_empty();
        if parts.founding.is_none() && !empty {
            return Err(PartsError::NotFounded);
        }
        let mut state = Self::empty(parts.applied, parts.founding, parts.format);
        parts
            .nodes
            .into_iter()
            .try_for_each(|n| add_node(&mut state, n))?;
        parts
            .shards
            .into_iter()
            .try_for_each(|s| add_shard(&mut state, s))?;
        parts
            .queues
            .into_iter()
            .try_for_each(|q| add_queue(&mut state, q))?;
        Ok(state)
    }
}

fn add_node(state: &mut MetadataState, node: NodeRecord) -> Result<(), PartsError> {
    let wrong = |why| Err(PartsError::Node(node.id, why));
    if node.id.get() > state.applied {
        return wrong("has an id beyond the last entry applied");
    }
    if state.node(node.id).is_some() || state.node_of_nonce(node.nonce).is_some() {
        return wrong("is there twice, by its id or its nonce");
    }
    if node.build.reads < state.format {
        return wrong("cannot read the records that the cluster writes");
    }
    state.insert_node(node);
    Ok(())
}

fn add_shard(state: &mut MetadataState, shard: ShardRecord) -> Result<(), PartsError> {
    let wrong = |why| Err(PartsError::Shard(shard.id, why));
    let founding = state.founding.as_ref().ok_or(PartsError::NotFounded)?;
    if usize::try_from(shard.id.get()) != Ok(state.shards.len() + 1) {
        return wrong("is out of order: ids run from 1 without gaps");
    }
    if state
        .region(&shard.home)
        .is_none_or(|home| home.shard.is_some())
    {
        return wrong("has a home that is not known, or that has a shard already");
    }
    let adjoins = shard.first_virtual.get() == state.slices_used() && shard.virtual_count > 0;
    let end = shard.first_virtual.get().checked_add(shard.virtual_count);
    if !adjoins || end.is_none_or(|end| end > founding.virtual_shards) {
        return wrong("has slices that do not adjoin the last shard's, or pass the end");
    }
    let unknown = |id: &NodeId| state.node(*id).is_none();
    if unknown(&shard.initial) || shard.voters.is_empty() || shard.voters.iter().any(unknown) {
        return wrong("has no voters, or members that are not known");
    }
    state.insert_shard(shard);
    Ok(())
}

fn add_queue(state: &mut MetadataState, queue: QueueRecord) -> Result<(), PartsError> {
    let wrong = |why| Err(PartsError::Queue(queue.name.clone(), why));
    if state.queue(&queue.name).is_some() {
        return wrong("is there twice");
    }
    if queue.shards.iter().any(|id| state.shard(*id).is_none()) {
        return wrong("has a shard that is not known");
    }
    if queue.keyed == 0 || usize::from(queue.keyed) > queue.shards.len() {
        return wrong("hashes its keys over more shards than it has, or over none");
    }
    state.queues.insert(queue.name.clone(), queue);
    Ok(())
}
