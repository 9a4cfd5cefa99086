//! The founding of a cluster by its first node, once.
//!
//! A node's id is the index of the metadata entry that adds it, and a group cannot be founded without an id: the
//! founder has to know its own before there is a log. So its id is fixed, and the founder repeats the first entry,
//! which may be repeated, until the entry that adds it falls on that index. A founding that is cut short goes on at the
//! next start, for as long as the index is still ahead.
//!
//! What must hold: nobody else is let in before it is over, since another node could be given the index.

use std::time::Duration;

use leasehold_consensus::{ChangeError, Group, ProposeError};
use leasehold_core::metadata::command::{AddNode, Found};
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataState};
use leasehold_types::NodeId;
use tokio::time::timeout;

/// The first node of every cluster. The log begins with the group's own two entries and the founding; the rest is for
/// starts that are cut short, each of which costs an entry.
pub const FOUNDER: NodeId = NodeId::new(8);

/// Longest that the only voter of a group may take to elect itself.
const ELECTION: Duration = Duration::from_secs(30);

/// Why a cluster was not founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// Too many starts were cut short.
    #[error(
        "the founding was cut short too often: nothing is lost yet, so empty the data folder and start with --init again"
    )]
    CutShort,
    /// The only voter did not come to lead.
    #[error("the first node did not come to lead the metadata: see the log for what its disk says")]
    NoLeader,
    /// The group could not be made.
    #[error("the metadata group could not be made")]
    Group(#[from] ChangeError),
    /// The first entries could not be written.
    #[error("the founding could not be written")]
    Write(#[from] ProposeError),
    /// The metadata would not have it.
    #[error("the founding was refused: {0}")]
    Refused(String),
}

/// Founds the cluster, or goes on where an earlier start stopped. Does nothing when it is founded.
pub(crate) async fn found(
    group: &Group<MetadataState>,
    found: Found,
    founder: AddNode,
) -> Result<(), FoundingError> {
    match group.initialize().await {
        Ok(()) | Err(ChangeError::AlreadyFounded) => {}
        Err(error) => return Err(error.into()),
    }
    lead(group).await?;
    while group.read(|metadata| metadata.node(FOUNDER).is_none()) {
        let index = write(group, MetadataCommand::Found(found.clone())).await?;
        let next = NodeId::new(index + 1);
        if next > FOUNDER {
            return Err(FoundingError::CutShort);
        }
        if next == FOUNDER {
            write(group, MetadataCommand::AddNode(founder.clone())).await?;
        }
    }
    Ok(())
}

async fn lead(group: &Group<MetadataState>) -> Result<(), FoundingError> {
    let mut status = group.watch();
    let leading = status.wait_for(leasehold_consensus::GroupStatus::is_leader);
    match timeout(ELECTION, leading).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(FoundingError::NoLeader),
    }
}

async fn write(
    group: &Group<MetadataState>,
    command: MetadataCommand,
) -> Result<u64, FoundingError> {
    let applied = group.propose(command).await?;
    match applied.outcome {
        MetadataOutcome::Refused(refusal) => Err(FoundingError::Refused(refusal.to_string())),
        MetadataOutcome::Founded(_)
        | MetadataOutcome::NodeAdded(_)
        | MetadataOutcome::NodeStarted
        | MetadataOutcome::ShardCreated(_)
        | MetadataOutcome::Intended(_)
        | MetadataOutcome::QueueCreated(_)
        | MetadataOutcome::QueueSet(_) => Ok(applied.index),
    }
}
