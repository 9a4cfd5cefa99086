//! The founding of a cluster by its first node, once.
//!
//! A group cannot be founded without an id, so the first node of every cluster is node 1: no other can be given that
//! number, since the group's own entries come before any that adds a node. A founding that is cut short goes on at the
//! next start.
//!
//! What must hold: nobody else is let in before it is over.

use std::time::Duration;

use leasehold_consensus::{ChangeError, Group, ProposeError};
use leasehold_core::metadata::command::{AddNode, Found};
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataState};
use leasehold_types::NodeId;
use tokio::time::timeout;

/// The first node of every cluster.
pub const FOUNDER: NodeId = leasehold_core::metadata::FIRST_NODE;

/// Longest that the only voter of a group may take to elect itself.
const ELECTION: Duration = Duration::from_secs(30);

/// Why a cluster was not founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
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
    if group.read(|machine| machine.node(FOUNDER).is_none()) {
        write(group, MetadataCommand::Found(found)).await?;
        write(group, MetadataCommand::AddNode(founder)).await?;
    }
    Ok(())
}

async fn lead(group: &Group<MetadataState>) -> Result<(), FoundingError> {
    let mut status = group.watch();
    let decided = status.wait_for(|status| status.is_leader() || status.fatal.is_some());
    match timeout(ELECTION, decided).await {
        Ok(Ok(status)) if status.is_leader() => Ok(()),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(FoundingError::NoLeader),
    }
}

async fn write(
    group: &Group<MetadataState>,
    command: MetadataCommand,
) -> Result<(), FoundingError> {
    let applied = group.propose(command).await?;
    match applied.outcome {
        MetadataOutcome::Refused(refusal) => Err(FoundingError::Refused(refusal.to_string())),
        MetadataOutcome::Founded(_)
        | MetadataOutcome::NodeAdded(_)
        | MetadataOutcome::NodeStarted
        | MetadataOutcome::ShardCreated(_)
        | MetadataOutcome::Intended(_)
        | MetadataOutcome::QueueCreated(_)
        | MetadataOutcome::QueueSet(_) => Ok(()),
    }
}
