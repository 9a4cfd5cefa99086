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

    /// How much of the metadata the shard has been told: all of it when it has every policy, else up to the newest
    /// that it has, since they are told in the order of their indexes.
    pub(super) fn seen(shard: ShardId, metadata: &MetadataState, state: &ShardState) -> u64 {
        let mut ours = metadata
            .queues()
            .filter(|queue| queue.shards.contains(&shard));
        match ours.all(|queue| state.policy_index(&queue.name) >= Some(queue.index)) {
            true => metadata.applied(),
            false => state.newest_policy_index(),
        }
    }

    /// What was proposed may not have been done: the state says what has.
    pub(super) fn forget(&mut self) {
        self.proposed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::metadata::command::{
        AddNode, Addresses, Build, CreateQueue, CreateShard, Found,
    };
    use leasehold_core::metadata::{MetadataCommand, MetadataOutcome};
    use leasehold_core::policy::{QueuePolicy, Timings};
    use leasehold_core::shard::command::LeaderStart;
    use leasehold_core::shard::{Batch, Outcome};
    use leasehold_types::{BootCount, ClusterId, Incarnation, NodeId, RegionName, ShardEpoch};

    const SHARD: ShardId = ShardId::new(1);

    /// A cluster of one region and one shard, with the queue `default`.
    fn metadata() -> MetadataState {
        let mut metadata = MetadataState::default();
        let found = Found {
            cluster: ClusterId::from_random(1),
            virtual_shards: 256,
            timings: Timings::Lan,
            regions: 1,
        };
        change(&mut metadata, MetadataCommand::Found(found));
        let home = RegionName::new("eu").unwrap();
        let node = AddNode {
            nonce: 1,
            region: home.clone(),
            addresses: Addresses {
                client: "127.0.0.1:1".to_owned(),
                peer: "127.0.0.1:2".to_owned(),
            },
            boot: BootCount::new(1).into(),
            build: Build {
                version: "0".to_owned(),
                reads: leasehold_records::NEWEST,
            },
        };
        change(&mut metadata, MetadataCommand::AddNode(node));
        let initial = metadata.nodes().next().unwrap().id;
        let shard = CreateShard { home, initial };
        change(&mut metadata, MetadataCommand::CreateShard(shard));
        metadata
    }

    fn change(metadata: &mut MetadataState, command: MetadataCommand) {
        let index = metadata.applied() + 1;
        let outcome = metadata.apply(index, &command);
        let is_refused = matches!(outcome, MetadataOutcome::Refused(_));
        assert!(!is_refused, "{outcome:?}");
    }

    fn create(metadata: &mut MetadataState, name: &str) {
        let create = CreateQueue {
            name: QueueName::new(name).unwrap(),
            policy: QueuePolicy::default(),
        };
        change(metadata, MetadataCommand::CreateQueue(create));
    }

    /// A shard in its first epoch.
    fn led() -> ShardState {
        let mut state = ShardState::new(Incarnation::default());
        let start = LeaderStart {
            previous: ShardEpoch::ZERO,
            node: NodeId::new(2),
            boot: BootCount::new(1),
        };
        apply(&mut state, vec![Command::LeaderStart(start)]);
        state
    }

    fn apply(state: &mut ShardState, commands: Vec<Command>) {
        let batch = Batch {
            epoch: state.epoch(),
            commands,
            ..Batch::default()
        };
        let applied = state.apply(&batch);
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        assert!(!applied.outcomes.iter().any(refused), "{applied:?}");
    }

    #[test]
    fn shard_is_told_each_policy_once_and_counts_as_told_when_it_has_them() {
        let (mut metadata, mut state) = (metadata(), led());
        create(&mut metadata, "chat");
        let mut policies = Policies::default();
        let missing = policies.missing(SHARD, &metadata, &state);
        assert_eq!(missing.len(), 2);
        assert!(policies.missing(SHARD, &metadata, &state).is_empty());
        assert!(Policies::seen(SHARD, &metadata, &state) < metadata.applied());
        apply(&mut state, missing);
        assert_eq!(Policies::seen(SHARD, &metadata, &state), metadata.applied());
        assert!(
            Policies::default()
                .missing(SHARD, &metadata, &state)
                .is_empty()
        );
    }

    #[test]
    fn policies_whose_entry_was_lost_are_told_again() {
        let (metadata, state) = (metadata(), led());
        let mut policies = Policies::default();
        let first = policies.missing(SHARD, &metadata, &state);
        policies.forget();
        assert_eq!(policies.missing(SHARD, &metadata, &state), first);
    }
}
