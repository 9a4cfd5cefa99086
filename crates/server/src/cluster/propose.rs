//! A change of the metadata, from any node: decided by whoever leads, told apart as done, not done, or unknown.

use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_consensus::ProposeError;
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome};
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_types::{ErrorCode, NodeId};
use tokio::time::sleep;

use super::{Cluster, wire};
use crate::peers::CallError;

/// Between two tries to find who leads.
const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(25),
    cap: Duration::from_millis(500),
};

/// What one try came to, when it did not come to an outcome.
pub(super) enum Missed {
    /// Nothing was done, and another try may do it. The hint is who should be asked.
    NotDone(ApiError, Option<NodeId>),
    /// Final: refused, or it may have been done.
    Over(ApiError),
}

impl Cluster {
    /// Has the metadata leader carry a command out, and waits until it is applied there; this node may apply it a
    /// little later.
    ///
    /// A refusal is an error, also when this node leads. Looks for a leader for up to four leader leases.
    ///
    /// # Errors
    /// `unavailable` when nothing was done for want of a leader; `unknown` when it may have been done; otherwise the
    /// refusal.
    pub async fn propose(&self, command: MetadataCommand) -> Result<MetadataOutcome, ApiError> {
        let (clock, began) = (&self.inner.clock, self.inner.clock.now());
        let mut hint = None;
        let mut tried = 0;
        loop {
            let missed = match self.try_once(&command, hint).await {
                Ok(outcome) => return refused(outcome),
                Err(missed) => missed,
            };
            let error = match missed {
                Missed::Over(error) => return Err(error),
                Missed::NotDone(error, next) => {
                    hint = next;
                    error
                }
            };
            if clock.now().since(began) > self.patience() {
                return Err(error);
            }
            tried += 1;
            sleep(backoff(&BACKOFF, tried, self.inner.entropy.next())).await;
        }
    }

    async fn try_once(
        &self,
        command: &MetadataCommand,
        hint: Option<NodeId>,
    ) -> Result<MetadataOutcome, Missed> {
        let status = self.status();
        let leader = status.leader.or(hint);
        match leader {
            Some(leader) if leader != self.node() => self.pass_on(command, leader).await,
            Some(_) | None => self.propose_if_room(command.clone()).await,
        }
    }

    /// As [`Cluster::propose_here`], for what somebody asks for: what only adds is refused while this node leads and its
    /// disk has no room for it. What is under way in the cluster goes on, nodes that join to help among it.
    pub(super) async fn propose_if_room(
        &self,
        command: MetadataCommand,
    ) -> Result<MetadataOutcome, Missed> {
        let is_new = match &command {
            MetadataCommand::CreateQueue(create) => {
                self.read(|metadata| metadata.queue(&create.name).is_none())
            }
            MetadataCommand::Found(_)
            | MetadataCommand::AddNode(_)
            | MetadataCommand::NodeStarted(_)
            | MetadataCommand::CreateShard(_)
            | MetadataCommand::IntendMembers(_)
            | MetadataCommand::SetQueue(_) => false,
        };
        if is_new && self.status().is_leader() {
            self.inner.room.admit("new queues").map_err(Missed::Over)?;
        }
        self.propose_here(command).await
    }

    /// For a command that this node must lead to carry out.
    pub(super) async fn propose_here(
        &self,
        command: MetadataCommand,
    ) -> Result<MetadataOutcome, Missed> {
        match self.inner.group.propose(command).await {
            Ok(applied) => Ok(applied.outcome),
            Err(error) => Err(missed(error)),
        }
    }

    async fn pass_on(
        &self,
        command: &MetadataCommand,
        leader: NodeId,
    ) -> Result<MetadataOutcome, Missed> {
        let Some(call) = wire::call(command, self.membership()) else {
            let why = format!("only the leader of the metadata, node {leader}, can do this");
            return Err(Missed::Over(ApiError::unavailable(why)));
        };
        match self
            .inner
            .peers
            .call_metadata(leader, call, self.patience())
            .await
        {
            Ok(answer) => passed_on(answer, command),
            Err(error @ CallError::NotSent { .. }) => Err(Missed::NotDone(
                ApiError::unavailable(error.to_string()),
                None,
            )),
            Err(error @ CallError::Unknown { .. }) => {
                Err(Missed::Over(ApiError::unknown(error.to_string())))
            }
        }
    }
}

fn passed_on(
    answer: v1::MetadataAnswer,
    command: &MetadataCommand,
) -> Result<MetadataOutcome, Missed> {
    let error = match wire::outcome(answer, command) {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    match error.code {
        ErrorCode::NotLeader | ErrorCode::Unavailable => {
            let hint = error
                .leader
                .as_ref()
                .map(|leader| NodeId::new(leader.node_id));
            Err(Missed::NotDone(error, hint))
        }
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::Conflict
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported
        | ErrorCode::Internal => Err(Missed::Over(error)),
    }
}

/// A refusal reads the same whether this node leads or another.
fn refused(outcome: MetadataOutcome) -> Result<MetadataOutcome, ApiError> {
    match outcome {
        MetadataOutcome::Refused(refusal) => Err(refusal.into()),
        MetadataOutcome::Founded(_)
        | MetadataOutcome::NodeAdded(_)
        | MetadataOutcome::NodeStarted
        | MetadataOutcome::ShardCreated(_)
        | MetadataOutcome::Intended(_)
        | MetadataOutcome::QueueCreated(_)
        | MetadataOutcome::QueueSet(_) => Ok(outcome),
    }
}

fn missed(error: ProposeError) -> Missed {
    let message = format!("metadata: {error}");
    match error {
        ProposeError::NotLeader { leader } => {
            Missed::NotDone(ApiError::unavailable(message), leader)
        }
        ProposeError::LeaseLapsed => Missed::NotDone(ApiError::unavailable(message), None),
        ProposeError::Stopped => Missed::Over(ApiError::unavailable(message)),
        ProposeError::Unknown => Missed::Over(ApiError::unknown(message)),
        ProposeError::TooLarge { .. } => Missed::Over(ApiError::invalid(message)),
    }
}
