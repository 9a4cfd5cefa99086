//! Calls that change jobs on behalf of those who submit and of operators.

use leasehold_api::{ApiError, v1};
use leasehold_core::shard::command::{Cancel, Discard, Redrive};
use leasehold_core::shard::{Command, Outcome};

use super::ask;
use crate::shards::batcher::WriteError;
use crate::shards::mailbox::Event;
use crate::shards::replica::Shared;

/// Has commands written, and gives their outcomes in order.
pub(super) async fn write(
    shared: &Shared,
    commands: Vec<Command>,
) -> Result<Vec<Outcome>, ApiError> {
    let written = ask(shared, |reply| Event::Write { commands, reply }).await;
    match written.unwrap_or(Err(WriteError::Unknown)) {
        Ok(outcomes) => Ok(outcomes),
        Err(WriteError::NotLeader) => Err(shared.not_leader()),
        Err(WriteError::NoQuorum) => Err(ApiError::unavailable(format!(
            "no majority of shard {} answers: try again shortly",
            shared.shard
        ))),
        Err(WriteError::Unknown) => Err(ApiError::unknown(format!(
            "leadership of shard {} was lost before the outcome was known",
            shared.shard
        ))),
    }
}

async fn write_one(shared: &Shared, command: Command) -> Result<Outcome, ApiError> {
    let mut outcomes = write(shared, vec![command]).await?;
    match outcomes.pop() {
        Some(Outcome::Refused(refusal)) => Err(refusal.into()),
        Some(outcome) => Ok(outcome),
        None => Err(odd("nothing")),
    }
}

pub(super) fn odd(given: impl std::fmt::Debug) -> ApiError {
    ApiError::internal(format!(
        "a command was answered with {given:?}: please report this"
    ))
}

pub(super) async fn cancel(
    shared: &Shared,
    request: v1::CancelRequest,
) -> Result<v1::CancelResponse, ApiError> {
    let cancel = Cancel::try_from(request)?;
    let outcome = write_one(shared, Command::Cancel(cancel)).await?;
    if let Outcome::Cancelled { repeated } = outcome {
        return Ok(v1::CancelResponse { repeated });
    }
    Err(odd(outcome))
}

pub(super) async fn redrive(
    shared: &Shared,
    request: &v1::RedriveRequest,
) -> Result<v1::RedriveResponse, ApiError> {
    let redrive = Redrive::try_from(request)?;
    let outcome = write_one(shared, Command::Redrive(redrive)).await?;
    if let Outcome::Redriven = outcome {
        return Ok(v1::RedriveResponse {});
    }
    Err(odd(outcome))
}

pub(super) async fn discard(
    shared: &Shared,
    request: &v1::DiscardRequest,
) -> Result<v1::DiscardResponse, ApiError> {
    let discard = Discard::try_from(request)?;
    let outcome = write_one(shared, Command::Discard(discard)).await?;
    if let Outcome::Discarded = outcome {
        return Ok(v1::DiscardResponse {});
    }
    Err(odd(outcome))
}
