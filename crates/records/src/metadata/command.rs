//! One command a log entry.

use bytes::Bytes;
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::{
    AddNode, Addresses, Build, CreateQueue, CreateShard, Found, IntendMembers, NodeStarted,
    SetQueue,
};
use leasehold_types::{Boot, BootCount, BootMark, ClusterId, NodeId, RecordFormat, ShardId};

use crate::common::{read_timings, timings};
use crate::error::DecodeError;
use crate::field::{In, bits, encoded, text};
use crate::store::v1::{self, metadata_command::Kind};

/// The bytes of a command, as the log keeps them.
#[must_use]
pub fn encode_command(command: &MetadataCommand) -> Bytes {
    let kind = Some(Kind::from(command));
    encoded(&v1::MetadataCommand { kind })
}

/// Reads back what [`encode_command`] gave.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_command(bytes: Bytes) -> Result<MetadataCommand, DecodeError> {
    let at = In("MetadataCommand");
    let command: v1::MetadataCommand = at.message(bytes.clone())?;
    match command.kind {
        Some(kind) => kind.try_into(),
        None => Err(at.unknown_kind(bytes)),
    }
}

impl From<&MetadataCommand> for Kind {
    fn from(command: &MetadataCommand) -> Self {
        match command {
            MetadataCommand::Found(found) => Self::Found(found.into()),
            MetadataCommand::AddNode(join) => Self::AddNode(join.into()),
            MetadataCommand::NodeStarted(start) => Self::NodeStarted(start.into()),
            MetadataCommand::CreateShard(create) => Self::CreateShard(create.into()),
            MetadataCommand::IntendMembers(intend) => Self::IntendMembers(intend.into()),
            MetadataCommand::CreateQueue(create) => Self::CreateQueue(create.into()),
            MetadataCommand::SetQueue(set) => Self::SetQueue(set.into()),
        }
    }
}

impl TryFrom<Kind> for MetadataCommand {
    type Error = DecodeError;

    fn try_from(kind: Kind) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::Found(found) => Self::Found(found.try_into()?),
            Kind::AddNode(join) => Self::AddNode(join.try_into()?),
            Kind::NodeStarted(start) => Self::NodeStarted(start.try_into()?),
            Kind::CreateShard(create) => Self::CreateShard(create.try_into()?),
            Kind::IntendMembers(intend) => Self::IntendMembers(intend.into()),
            Kind::CreateQueue(create) => Self::CreateQueue(create.try_into()?),
            Kind::SetQueue(set) => Self::SetQueue(set.try_into()?),
        })
    }
}

impl From<&Found> for v1::Founding {
    fn from(found: &Found) -> Self {
        Self {
            cluster: bits(found.cluster.get()),
            virtual_shards: found.virtual_shards.into(),
            timings: timings(found.timings),
            regions: found.regions.into(),
        }
    }
}

impl TryFrom<v1::Founding> for Found {
    type Error = DecodeError;

    fn try_from(found: v1::Founding) -> Result<Self, DecodeError> {
        let at = In("Founding");
        Ok(Self {
            cluster: ClusterId::from_random(at.bits("cluster", &found.cluster)?),
            virtual_shards: at.narrow("virtual_shards", found.virtual_shards)?,
            timings: read_timings(at, found.timings)?,
            regions: at.narrow("regions", found.regions)?,
        })
    }
}

impl From<&Addresses> for v1::Addresses {
    fn from(addresses: &Addresses) -> Self {
        Self {
            client: addresses.client.clone(),
            peer: addresses.peer.clone(),
        }
    }
}

impl From<v1::Addresses> for Addresses {
    fn from(addresses: v1::Addresses) -> Self {
        Self {
            client: addresses.client,
            peer: addresses.peer,
        }
    }
}

pub(super) const fn boot(count: u64, mark: u64) -> Boot {
    Boot {
        count: BootCount::new(count),
        mark: BootMark::new(mark),
    }
}

pub(super) const fn build(version: String, reads: u32) -> Build {
    Build {
        version,
        reads: RecordFormat::new(reads),
    }
}

impl From<&AddNode> for v1::AddNode {
    fn from(join: &AddNode) -> Self {
        Self {
            nonce: bits(join.nonce),
            region: text(&join.region),
            addresses: Some((&join.addresses).into()),
            boot: join.boot.count.get(),
            version: join.build.version.clone(),
            boot_mark: join.boot.mark.get(),
            reads: join.build.reads.get(),
        }
    }
}

impl TryFrom<v1::AddNode> for AddNode {
    type Error = DecodeError;

    fn try_from(join: v1::AddNode) -> Result<Self, DecodeError> {
        let at = In("AddNode");
        Ok(Self {
            nonce: at.bits("nonce", &join.nonce)?,
            region: at.name("region", &join.region)?,
            addresses: at.required("addresses", join.addresses)?.into(),
            boot: boot(join.boot, join.boot_mark),
            build: build(join.version, join.reads),
        })
    }
}

impl From<&NodeStarted> for v1::NodeStarted {
    fn from(start: &NodeStarted) -> Self {
        Self {
            node: start.node.get(),
            boot: start.boot.count.get(),
            addresses: Some((&start.addresses).into()),
            version: start.build.version.clone(),
            boot_mark: start.boot.mark.get(),
            reads: start.build.reads.get(),
        }
    }
}

impl TryFrom<v1::NodeStarted> for NodeStarted {
    type Error = DecodeError;

    fn try_from(start: v1::NodeStarted) -> Result<Self, DecodeError> {
        let at = In("NodeStarted");
        Ok(Self {
            node: NodeId::new(start.node),
            boot: boot(start.boot, start.boot_mark),
            addresses: at.required("addresses", start.addresses)?.into(),
            build: build(start.version, start.reads),
        })
    }
}

impl From<&CreateShard> for v1::CreateShard {
    fn from(create: &CreateShard) -> Self {
        Self {
            home: text(&create.home),
            initial: create.initial.get(),
        }
    }
}

impl TryFrom<v1::CreateShard> for CreateShard {
    type Error = DecodeError;

    fn try_from(create: v1::CreateShard) -> Result<Self, DecodeError> {
        Ok(Self {
            home: In("CreateShard").name("home", &create.home)?,
            initial: NodeId::new(create.initial),
        })
    }
}

impl From<&IntendMembers> for v1::IntendMembers {
    fn from(intend: &IntendMembers) -> Self {
        Self {
            shard: intend.shard.get(),
            base: intend.base,
            voters: intend.voters.iter().map(|id| id.get()).collect(),
        }
    }
}

impl From<v1::IntendMembers> for IntendMembers {
    fn from(intend: v1::IntendMembers) -> Self {
        Self {
            shard: ShardId::new(intend.shard),
            base: intend.base,
            voters: intend.voters.into_iter().map(NodeId::new).collect(),
        }
    }
}

impl From<&CreateQueue> for v1::CreateQueue {
    fn from(create: &CreateQueue) -> Self {
        Self {
            name: text(&create.name),
            policy: Some((&create.policy).into()),
        }
    }
}

impl TryFrom<v1::CreateQueue> for CreateQueue {
    type Error = DecodeError;

    fn try_from(create: v1::CreateQueue) -> Result<Self, DecodeError> {
        let at = In("CreateQueue");
        Ok(Self {
            name: at.name("name", &create.name)?,
            policy: at.nested("policy", create.policy)?,
        })
    }
}

impl From<&SetQueue> for v1::SetQueue {
    fn from(set: &SetQueue) -> Self {
        Self {
            name: text(&set.name),
            base: set.base,
            policy: Some((&set.policy).into()),
        }
    }
}

impl TryFrom<v1::SetQueue> for SetQueue {
    type Error = DecodeError;

    fn try_from(set: v1::SetQueue) -> Result<Self, DecodeError> {
        let at = In("SetQueue");
        Ok(Self {
            name: at.name("name", &set.name)?,
            base: set.base,
            policy: at.nested("policy", set.policy)?,
        })
    }
}
