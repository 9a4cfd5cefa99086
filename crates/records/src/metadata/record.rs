//! The records that a snapshot of the metadata is made of.

use leasehold_core::metadata::command::Found;
use leasehold_core::metadata::records::{Founding, NodeRecord, QueueRecord, ShardRecord};
use leasehold_types::{NodeId, ShardId, VirtualShard};

use super::command::{boot, build};
use crate::common::{placement, read_placement, timings};
use crate::error::DecodeError;
use crate::field::{In, bits, text};
use crate::store::v1;

impl From<&Founding> for v1::Founding {
    fn from(founding: &Founding) -> Self {
        Self {
            cluster: bits(founding.cluster.get()),
            virtual_shards: founding.virtual_shards.into(),
            timings: timings(founding.timings),
            regions: founding.regions.into(),
        }
    }
}

impl TryFrom<v1::Founding> for Founding {
    type Error = DecodeError;

    fn try_from(founding: v1::Founding) -> Result<Self, DecodeError> {
        let found = Found::try_from(founding)?;
        Ok(Self {
            cluster: found.cluster,
            virtual_shards: found.virtual_shards,
            timings: found.timings,
            regions: found.regions,
        })
    }
}

impl From<&NodeRecord> for v1::NodeRecord {
    fn from(node: &NodeRecord) -> Self {
        Self {
            id: node.id.get(),
            region: text(&node.region),
            addresses: Some((&node.addresses).into()),
            boot: node.boot.count.get(),
            version: node.build.version.clone(),
            nonce: bits(node.nonce),
            boot_mark: node.boot.mark.get(),
            reads: node.build.reads.get(),
        }
    }
}

impl TryFrom<v1::NodeRecord> for NodeRecord {
    type Error = DecodeError;

    fn try_from(node: v1::NodeRecord) -> Result<Self, DecodeError> {
        let at = In("NodeRecord");
        Ok(Self {
            id: NodeId::new(node.id),
            region: at.name("region", &node.region)?,
            addresses: at.required("addresses", node.addresses)?.into(),
            boot: boot(node.boot, node.boot_mark),
            build: build(node.version, node.reads),
            nonce: at.bits("nonce", &node.nonce)?,
        })
    }
}

impl From<&ShardRecord> for v1::ShardRecord {
    fn from(shard: &ShardRecord) -> Self {
        Self {
            id: shard.id.get(),
            home: text(&shard.home),
            placement: placement(shard.placement),
            initial: shard.initial.get(),
            voters: shard.voters.iter().map(|id| id.get()).collect(),
            intent: shard.intent,
            first_virtual: shard.first_virtual.get().into(),
            virtual_count: shard.virtual_count.into(),
        }
    }
}

impl TryFrom<v1::ShardRecord> for ShardRecord {
    type Error = DecodeError;

    fn try_from(shard: v1::ShardRecord) -> Result<Self, DecodeError> {
        let at = In("ShardRecord");
        Ok(Self {
            id: ShardId::new(shard.id),
            home: at.name("home", &shard.home)?,
            placement: read_placement(at, shard.placement)?,
            initial: NodeId::new(shard.initial),
            voters: shard.voters.into_iter().map(NodeId::new).collect(),
            intent: shard.intent,
            first_virtual: VirtualShard::new(at.narrow("first_virtual", shard.first_virtual)?),
            virtual_count: at.narrow("virtual_count", shard.virtual_count)?,
        })
    }
}

impl From<&QueueRecord> for v1::QueueRecord {
    fn from(queue: &QueueRecord) -> Self {
        Self {
            name: text(&queue.name),
            policy: Some((&queue.policy).into()),
            index: queue.index,
            shards: queue.shards.iter().map(|id| id.get()).collect(),
            keyed: queue.keyed.into(),
        }
    }
}

impl TryFrom<v1::QueueRecord> for QueueRecord {
    type Error = DecodeError;

    fn try_from(queue: v1::QueueRecord) -> Result<Self, DecodeError> {
        let at = In("QueueRecord");
        Ok(Self {
            name: at.name("name", &queue.name)?,
            policy: at.nested("policy", queue.policy)?,
            index: queue.index,
            shards: queue.shards.into_iter().map(ShardId::new).collect(),
            keyed: at.narrow("keyed", queue.keyed)?,
        })
    }
}
