//! What can be written to the metadata log.

use std::collections::BTreeSet;

use leasehold_types::{Boot, ClusterId, NodeId, QueueName, RecordFormat, RegionName, ShardId};

use crate::policy::{QueuePolicy, Timings};

/// A change to what all regions agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataCommand {
    /// First entry of every cluster; refused when one was founded already.
    Found(Found),
    /// Adds a node: the first one is node 1, every other has the index of its entry as its id. The same nonce finds
    /// the node added before.
    AddNode(AddNode),
    /// A node started again, perhaps at new addresses.
    NodeStarted(NodeStarted),
    /// Creates the shard of a region, with one initial member that alone may initialise its group.
    CreateShard(CreateShard),
    /// Says which nodes shall vote in a shard's group.
    IntendMembers(IntendMembers),
    /// Creates a queue.
    CreateQueue(CreateQueue),
    /// Changes a queue's policy.
    SetQueue(SetQueue),
}

/// See [`MetadataCommand::Found`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Drawn at random by the founder.
    pub cluster: ClusterId,
    /// Slices of the job id space, fixed for good.
    pub virtual_shards: u16,
    /// Timings of every group.
    pub timings: Timings,
    /// Regions that the cluster starts with: the queue `default` is made once each has its shard.
    pub regions: u16,
}

/// Where a node can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    /// `host:port` for clients, workers and HTTP.
    pub client: String,
    /// `host:port` for other nodes.
    pub peer: String,
}

/// What a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The version of its binary, for people.
    pub version: String,
    /// The newest records that it reads.
    pub reads: RecordFormat,
}

/// See [`MetadataCommand::AddNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddNode {
    /// Drawn at random by the node, kept until it has its id: makes a repeated join the same join.
    pub nonce: u128,
    /// Its region; a new name makes a new region.
    pub region: RegionName,
    /// Where it can be reached.
    pub addresses: Addresses,
    /// Which start of its data folder this is.
    pub boot: Boot,
    /// What it is.
    pub build: Build,
}

/// See [`MetadataCommand::NodeStarted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStarted {
    /// The node.
    pub node: NodeId,
    /// Which start; one that shows an old copy of a data folder, or a second one, is refused.
    pub boot: Boot,
    /// Where it can be reached now.
    pub addresses: Addresses,
    /// What it is.
    pub build: Build,
}

/// See [`MetadataCommand::CreateShard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateShard {
    /// Where its leader lives when all is well.
    pub home: RegionName,
    /// The one node that initialises the group.
    pub initial: NodeId,
}

/// See [`MetadataCommand::IntendMembers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntendMembers {
    /// The shard.
    pub shard: ShardId,
    /// The intent's index that this one replaces; another is refused.
    pub base: u64,
    /// Who shall vote: 1, 3 or 5 nodes.
    pub voters: BTreeSet<NodeId>,
}

/// See [`MetadataCommand::CreateQueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateQueue {
    /// Its name.
    pub name: QueueName,
    /// Its policy.
    pub policy: QueuePolicy,
}

/// See [`MetadataCommand::SetQueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQueue {
    /// Its name.
    pub name: QueueName,
    /// Index of the policy that this one replaces; another is refused. None replaces whatever stands.
    pub base: Option<u64>,
    /// Its new policy.
    pub policy: QueuePolicy,
}
