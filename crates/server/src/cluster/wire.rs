//! Changes of the metadata as nodes pass them on to each other.
//!
//! What users and joining nodes may ask for has a form on the wire; what only the leader itself decides (founding,
//! placing shards) has none.

use leasehold_api::ApiError;
use leasehold_api::convert::nodes::Joining;
use leasehold_api::v1::{self, metadata_answer, metadata_call};
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome};
use leasehold_core::policy::QueuePolicy;
use leasehold_types::NodeId;

use super::Membership;
use crate::peers::{PROTOCOL_MAX, PROTOCOL_MIN};

/// The command as a call to the leader, if it has that form.
pub(super) fn call(command: &MetadataCommand, ours: &Membership) -> Option<v1::MetadataCall> {
    let call = match command {
        MetadataCommand::CreateQueue(create) => {
            metadata_call::Call::CreateQueue(v1::CreateQueueRequest {
                name: create.name.as_str().to_owned(),
                policy: Some(whole(&create.policy)),
            })
        }
        MetadataCommand::SetQueue(set) => metadata_call::Call::SetQueue(v1::SetQueueRequest {
            name: set.name.as_str().to_owned(),
            policy: Some(whole(&set.policy)),
            base: set.base.unwrap_or(0),
        }),
        MetadataCommand::AddNode(add) => join(&Joining::New(add.clone())),
        MetadataCommand::NodeStarted(started) => {
            join(&Joining::Known(ours.cluster, started.clone()))
        }
        MetadataCommand::Found(_)
        | MetadataCommand::CreateShard(_)
        | MetadataCommand::IntendMembers(_) => return None,
    };
    Some(v1::MetadataCall { call: Some(call) })
}

/// What a node that joins, or says that it started, sends.
pub(super) fn request(joining: &Joining) -> v1::JoinRequest {
    v1::JoinRequest {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        ..joining.into()
    }
}

fn join(joining: &Joining) -> metadata_call::Call {
    metadata_call::Call::Join(request(joining))
}

/// The leader's answer as the command's outcome.
pub(super) fn outcome(
    answer: v1::MetadataAnswer,
    command: &MetadataCommand,
) -> Result<MetadataOutcome, ApiError> {
    match answer.answer {
        Some(metadata_answer::Answer::Queue(response)) => queue_outcome(response, command),
        Some(metadata_answer::Answer::Join(response)) => joined_outcome(response, command),
        Some(metadata_answer::Answer::Error(error)) => Err(error.into()),
        None => Err(odd("no answer")),
    }
}

fn queue_outcome(
    response: v1::QueueResponse,
    command: &MetadataCommand,
) -> Result<MetadataOutcome, ApiError> {
    let index = response.queue.map(|queue| queue.index);
    let index = index.ok_or_else(|| odd("no queue"))?;
    match command {
        MetadataCommand::CreateQueue(_) => Ok(MetadataOutcome::QueueCreated(index)),
        MetadataCommand::SetQueue(_) => Ok(MetadataOutcome::QueueSet(index)),
        MetadataCommand::Found(_)
        | MetadataCommand::AddNode(_)
        | MetadataCommand::NodeStarted(_)
        | MetadataCommand::CreateShard(_)
        | MetadataCommand::IntendMembers(_) => Err(odd("a queue")),
    }
}

fn joined_outcome(
    response: v1::JoinResponse,
    command: &MetadataCommand,
) -> Result<MetadataOutcome, ApiError> {
    let joined = match response.result {
        Some(v1::join_response::Result::Joined(joined)) => joined,
        Some(v1::join_response::Result::Error(error)) => return Err(error.into()),
        None => return Err(odd("an empty answer to a join")),
    };
    match command {
        MetadataCommand::AddNode(_) => Ok(MetadataOutcome::NodeAdded(NodeId::new(joined.node_id))),
        MetadataCommand::NodeStarted(_) => Ok(MetadataOutcome::NodeStarted),
        MetadataCommand::Found(_)
        | MetadataCommand::CreateShard(_)
        | MetadataCommand::IntendMembers(_)
        | MetadataCommand::CreateQueue(_)
        | MetadataCommand::SetQueue(_) => Err(odd("an answer to a join")),
    }
}

/// It was carried out, as far as can be told, and what came of it was not understood.
fn odd(what: &str) -> ApiError {
    ApiError::unknown(format!("the leader of the metadata answered with {what}"))
}

/// A change that names every field: the policy becomes exactly this one.
fn whole(policy: &QueuePolicy) -> v1::QueuePolicyChange {
    let policy = v1::QueuePolicy::from(policy);
    v1::QueuePolicyChange {
        tenant: Some(policy.tenant),
        placement: Some(policy.placement),
        lease_ms: Some(policy.lease_ms),
        stall_limit_ms: Some(policy.stall_limit_ms),
        attempt_limit_ms: Some(policy.attempt_limit_ms),
        job_deadline_ms: Some(policy.job_deadline_ms),
        requeue_on_verdict: Some(policy.requeue_on_verdict),
        max_attempts: Some(policy.max_attempts),
        max_losses: Some(policy.max_losses),
        backoff_base_ms: Some(policy.backoff_base_ms),
        backoff_cap_ms: Some(policy.backoff_cap_ms),
        retain_done_ms: Some(policy.retain_done_ms),
        retain_failed_ms: Some(policy.retain_failed_ms),
        retain_keys_ms: Some(policy.retain_keys_ms),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_api::convert::policy::apply_change;

    use super::*;

    #[test]
    fn policy_that_is_passed_on_arrives_as_itself() {
        let policy = QueuePolicy {
            lease: Duration::from_secs(45),
            stall_limit: None,
            requeue_on_verdict: false,
            max_attempts: 9,
            ..QueuePolicy::default()
        };
        let passed = apply_change(QueuePolicy::default(), &whole(&policy)).unwrap();
        assert_eq!(passed, policy);
    }
}
