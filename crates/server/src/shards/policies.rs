//! Which queue policies a shard has still to be told.
//!
//! Policies are decided in metadata and reach a shard through its own log, each with its metadata index; applying
//! takes only a greater one, so telling too often does no harm and telling late is all that can go wrong.

use std::collections::BTreeMap;

use leasehold_core::metadata::MetadataState;
use leasehold_core::shard::command::PutPolicy;
use leasehold_core::shard::{Command, ShardState};
use leasehold_types::{QueueName, ShardId};

/// What one leadership has told its shard, and how far it is with the metadata.
#[derive(Debug, Default)]
pub(super) struct Policies {
    proposed: BTreeMap<QueueName, u64>,
}

impl Policies {
    /// What the shard's log lacks of the metadata, in the order of metadata indexes.
    pub(super) fn missing(
        &mut self,
        shard: ShardId,
        metadata: &MetadataState,
        state: &ShardState,
    ) -> Vec<Command> {
        let ours = metadata
            .queues()
            .filter(|queue| queue.shards.contains(&shard));
        let known = |queue: &QueueName| {
            let proposed = self.proposed.get(queue).copied().unwrap_or(0);
            state.policy_index(queue).max(Some(proposed))
        };
        let mut missing: Vec<PutPolicy> = ours
            .filter(|queue| Some(queue.index) > known(&queue.name))
            .map(|queue| PutPolicy {
                queue: queue.name.clone(),
                policy: queue.policy.clone(),
                index: queue.index,
            })
            .collect();
        missing.sort_by_key(|put| put.index);
        for put in &missing {
            self.proposed.insert(put.queue.clone(), put.index);
        }
        let commands = missing.into_iter().map(Box::new);
        commands.map(Command::PutPolicy).collect()
    }

    /// Whether the shard's state has every policy that this metadata has for it.
    pub(super) fn are_all_in(shard: ShardId, metadata: &MetadataState, state: &ShardState) -> bool {
        let mut ours = metadata
            .queues()
            .filter(|queue| queue.shards.contains(&shard));
        ours.all(|queue| state.policy_index(&queue.name) >= Some(queue.index))
    }

    /// What was proposed may not have been done: the state says what has.
    pub(super) fn forget(&mut self) {
        self.proposed.clear();
    }
}
