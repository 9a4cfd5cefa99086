//! What came of each metadata command.

use leasehold_types::{
    BootCount, ClusterId, ErrorCode, NodeId, QueueName, RecordFormat, RegionName, ShardId,
};

use crate::policy::PolicyError;

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataOutcome {
    /// The cluster is founded.
    Founded(ClusterId),
    /// The node has its id, now or by an earlier join with the same nonce.
    NodeAdded(NodeId),
    /// The node's start is noted.
    NodeStarted,
    /// The region has this shard, now or from before.
    ShardCreated(ShardId),
    /// The intent stands, as of this index.
    Intended(u64),
    /// The queue exists, with the policy of this index.
    QueueCreated(u64),
    /// The queue has the policy of this index.
    QueueSet(u64),
    /// Nothing was changed.
    Refused(MetadataRefusal),
}

/// Why a metadata command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// A second founding.
    #[error("the cluster {0} is founded already: start this node without --init to join it")]
    AlreadyFounded(ClusterId),
    /// A command before the founding.
    #[error("no cluster is founded here yet: start one node with --init")]
    NotFounded,
    /// No such node.
    #[error("node {0} is not known to this cluster")]
    UnknownNode(NodeId),
    /// An old copy of a data folder.
    #[error(
        "node {node} was seen at {seen} and now shows {given}: its data folder is an old copy; \
         bring back the newest one, or join as a new node, with an empty folder and another peer address"
    )]
    OldBoot {
        /// The node.
        node: NodeId,
        /// The newest start seen.
        seen: BootCount,
        /// What it shows now.
        given: BootCount,
    },
    /// A second copy of a data folder.
    #[error(
        "node {node} was seen at {boot} from another copy of its data folder: stop one of the two; \
         the newest folder is the one to keep"
    )]
    TwinBoot {
        /// The node.
        node: NodeId,
        /// The start that both show.
        boot: BootCount,
    },
    /// An empty data folder where a node of the cluster is known to be.
    #[error(
        "node {node} is known at {address}, and an empty data folder asks to join from there: \
         bring back the folder of node {node}; or, if that is lost, give this one another peer address \
         to join as a new node"
    )]
    AddressTaken {
        /// Who is known there.
        node: NodeId,
        /// Its address for other nodes.
        address: String,
    },
    /// A version that cannot read what the cluster writes.
    #[error(
        "this cluster writes records of format {written}, and this version reads up to {read}: \
         start a newer version"
    )]
    Unreadable {
        /// What is written.
        written: RecordFormat,
        /// The newest that the node reads.
        read: RecordFormat,
    },
    /// No such region.
    #[error("region {0} is not known: regions appear when their first node joins")]
    UnknownRegion(RegionName),
    /// No such shard.
    #[error("shard {0} is not known")]
    UnknownShard(ShardId),
    /// No such queue.
    #[error("queue {0} does not exist: create it with `leasehold queue create {0}`")]
    UnknownQueue(QueueName),
    /// The name is taken by a queue with another policy.
    #[error("queue {0} exists with another policy: change it with `leasehold queue set {0}`")]
    QueueExists(QueueName),
    /// Somebody else changed it first.
    #[error("{what} was changed at index {current}, not {base}: read it again and decide again")]
    Conflict {
        /// What was changed.
        what: String,
        /// The index that stands.
        current: u64,
        /// The index that the command replaces.
        base: u64,
    },
    /// The policy is out of bounds.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A bound of the cluster is reached.
    #[error("the cluster has {limit} {what}, which is the limit")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The command itself is out of bounds.
    #[error("{0}")]
    Invalid(String),
}

impl MetadataRefusal {
    /// The kind of error that this is to a caller.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::AlreadyFounded(_)
            | Self::NotFounded
            | Self::OldBoot { .. }
            | Self::TwinBoot { .. }
            | Self::AddressTaken { .. } => ErrorCode::FailedPrecondition,
            Self::Unreadable { .. } => ErrorCode::Unsupported,
            Self::UnknownNode(_)
            | Self::UnknownRegion(_)
            | Self::UnknownShard(_)
            | Self::UnknownQueue(_) => ErrorCode::NotFound,
            Self::QueueExists(_) => ErrorCode::AlreadyExists,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Policy(_) | Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::Full { .. } => ErrorCode::ResourceExhausted,
        }
    }
}
