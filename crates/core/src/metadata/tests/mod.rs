//! Rules of the metadata, each held by a test of its name. Here: a small cluster to try them on.

mod controller;
mod format;
mod founding;
mod nodes;
mod parts;
mod properties;
mod queues;
mod routing;
mod shards;
mod status;

use std::collections::BTreeSet;

use leasehold_types::{
    Boot, BootCount, BootMark, ClusterId, NodeId, QueueName, RecordFormat, RegionName, ShardId,
};

use super::command::{
    AddNode, Addresses, Build, CreateQueue, CreateShard, Found, IntendMembers, MetadataCommand,
    NodeStarted, SetQueue,
};
use super::controller::plan;
use super::{MetadataOutcome, MetadataRefusal, MetadataState};
use crate::policy::{QueuePolicy, Timings};

pub(super) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(super) fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

pub(super) fn found(regions: u16) -> Found {
    Found {
        cluster: ClusterId::from_random(7),
        virtual_shards: 256,
        timings: Timings::Wan,
        regions,
    }
}

pub(super) fn join(nonce: u128, name: &str, boot: u64) -> AddNode {
    AddNode {
        nonce,
        region: region(name),
        addresses: addresses(nonce, boot),
        boot: boot_from(boot, 1),
        build: build("0.1.0", 1),
    }
}

pub(super) fn boot_from(count: u64, mark: u64) -> Boot {
    Boot {
        count: BootCount::new(count),
        mark: BootMark::new(mark),
    }
}

pub(super) fn build(version: &str, reads: u32) -> Build {
    Build {
        version: version.into(),
        reads: RecordFormat::new(reads),
    }
}

pub(super) fn start(node: NodeId, boot: u64) -> NodeStarted {
    NodeStarted {
        node,
        boot: boot_from(boot, 1),
        addresses: addresses(node.get().into(), boot),
        build: build("0.2.0", 1),
    }
}

/// Other addresses for each node and at each start, so that a test can tell which one is known.
pub(super) fn addresses(whose: u128, boot: u64) -> Addresses {
    Addresses {
        client: format!("node{whose}:{}", 7000 + boot),
        peer: format!("node{whose}:{}", 8000 + boot),
    }
}

/// A state and the log that made it.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) state: MetadataState,
    nonce: u128,
}

impl Cluster {
    pub(super) fn unfounded() -> Self {
        Self {
            state: MetadataState::default(),
            nonce: 0,
        }
    }

    pub(super) fn founded(regions: u16) -> Self {
        let mut cluster = Self::unfounded();
        cluster.apply(MetadataCommand::Found(found(regions)));
        cluster
    }

    /// A cluster with one node in each of these regions, and all that the controller makes of it.
    pub(super) fn settled(regions: &[&str]) -> Self {
        let mut cluster = Self::founded(u16::try_from(regions.len()).unwrap());
        regions.iter().for_each(|name| {
            cluster.add_node(name);
        });
        cluster.settle();
        cluster
    }

    pub(super) fn apply(&mut self, command: MetadataCommand) -> MetadataOutcome {
        self.state.apply(self.state.applied() + 1, &command)
    }

    pub(super) fn refuse(&mut self, command: MetadataCommand) -> MetadataRefusal {
        let before = self.state.parts();
        let MetadataOutcome::Refused(refusal) = self.apply(command) else {
            panic!("the command was not refused");
        };
        let after = self.state.parts();
        assert_eq!((before.nodes, before.shards), (after.nodes, after.shards));
        assert_eq!(before.queues, after.queues, "a refusal changed a queue");
        refusal
    }

    pub(super) fn add_node(&mut self, name: &str) -> NodeId {
        self.nonce += 1;
        let outcome = self.apply(MetadataCommand::AddNode(join(self.nonce, name, 1)));
        let MetadataOutcome::NodeAdded(id) = outcome else {
            panic!("{outcome:?}");
        };
        id
    }

    pub(super) fn all(&self) -> BTreeSet<NodeId> {
        self.state.nodes().map(|node| node.id).collect()
    }

    /// Does what the controller plans while all nodes are heard, until it plans nothing more.
    pub(super) fn settle(&mut self) {
        let alive = self.all();
        self.settle_with(&alive);
    }

    pub(super) fn settle_with(&mut self, alive: &BTreeSet<NodeId>) {
        for _ in 0..4 {
            for command in plan(&self.state, alive) {
                let outcome = self.apply(command);
                assert!(
                    !matches!(outcome, MetadataOutcome::Refused(_)),
                    "{outcome:?}"
                );
            }
        }
        assert_eq!(plan(&self.state, alive), vec![], "the plan has no end");
    }

    pub(super) fn create_shard(&mut self, home: &str, initial: NodeId) -> MetadataOutcome {
        let home = region(home);
        self.apply(MetadataCommand::CreateShard(CreateShard { home, initial }))
    }

    pub(super) fn intend(&self, shard: u32, voters: &[u64]) -> MetadataCommand {
        let shard = ShardId::new(shard);
        let base = self.state.shard(shard).map_or(0, |shard| shard.intent);
        let voters = nodes(voters);
        MetadataCommand::IntendMembers(IntendMembers {
            shard,
            base,
            voters,
        })
    }

    pub(super) fn voters(&self, shard: u32) -> Vec<u64> {
        let shard = self.state.shard(ShardId::new(shard)).unwrap();
        shard.voters.iter().map(|id| id.get()).collect()
    }
}

pub(super) fn create_queue(name: &str, policy: QueuePolicy) -> MetadataCommand {
    let name = queue(name);
    MetadataCommand::CreateQueue(CreateQueue { name, policy })
}

pub(super) fn set_queue(name: &str, base: Option<u64>, policy: QueuePolicy) -> MetadataCommand {
    let name = queue(name);
    MetadataCommand::SetQueue(SetQueue { name, base, policy })
}
