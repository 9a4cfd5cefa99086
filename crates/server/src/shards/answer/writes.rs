//! Calls that change jobs on behalf of those who submit and of operators.

use std::time::Duration;

use leasehold_api::convert::submit::{check_batch, submit as to_submit};
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::records::ShardRecord;
use leasehold_core::shard::command::{Cancel, Discard, Redrive, Submit};
use leasehold_core::shard::{Command, Outcome};
use leasehold_types::ErrorCode;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::ask;
use crate::metrics::SubmitOutcome;
use crate::shards::batcher::WriteError;
use crate::shards::mailbox::{Event, METADATA_PATIENCE};
use crate::shards::replica::Shared;

/// When to come back after the log was too busy to take a submit.
const BUSY: Duration = Duration::from_millis(200);

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

fn odd(given: impl std::fmt::Debug) -> ApiError {
    ApiError::internal(format!(
        "a command was answered with {given:?}: please report this"
    ))
}

/// Takes jobs in, each with its own answer.
pub(super) async fn submit(
    shared: &Shared,
    request: v1::ShardSubmit,
) -> Result<v1::SubmitResponse, ApiError> {
    check_batch(&request.jobs)?;
    see_metadata(shared, request.metadata_index).await?;
    let _room = admit(shared, &request.jobs)?;
    let (commands, refused) = commands_of(shared, request.jobs);
    let jobs = u64::try_from(commands.len()).unwrap_or(u64::MAX);
    let written = write(shared, commands).await.inspect_err(|error| {
        if error.code == ErrorCode::Unknown {
            let metrics = &shared.context.metrics;
            metrics.submitted(SubmitOutcome::Unknown, jobs);
        }
    });
    let mut outcomes = written?.into_iter();
    let results = refused.into_iter().map(|refused| match refused {
        Some(error) => error.into(),
        None => submit_result(outcomes.next()),
    });
    Ok(v1::SubmitResponse {
        results: results.collect(),
    })
}

/// The commands to write, and for each job in turn why it has none, or nothing.
fn commands_of(shared: &Shared, jobs: Vec<v1::NewJob>) -> (Vec<Command>, Vec<Option<ApiError>>) {
    let holds = slices(shared);
    let mut commands = Vec::with_capacity(jobs.len());
    let refused = jobs.into_iter().map(|job| {
        let checked = to_submit(job, None).map_err(ApiError::from);
        match checked.and_then(|submit| check_slice(shared, &holds, submit)) {
            Ok(submit) => {
                commands.push(Command::Submit(Box::new(submit)));
                None
            }
            Err(error) => Some(error),
        }
    });
    let refused = refused.collect();
    (commands, refused)
}

/// The shard's slices of the id space.
fn slices(shared: &Shared) -> Option<ShardRecord> {
    let cluster = &shared.context.cluster;
    cluster.read(|metadata| metadata.shard(shared.shard).cloned())
}

/// SUBTLE: an id of another shard's slice would be taken in here and never be found there: a repeat that goes to the
/// right shard would make a second job of it.
fn check_slice(
    shared: &Shared,
    record: &Option<ShardRecord>,
    submit: Submit,
) -> Result<Submit, ApiError> {
    let slice = submit.job.virtual_shard();
    if record.as_ref().is_some_and(|record| record.holds(slice)) {
        return Ok(submit);
    }
    let (job, shard) = (submit.job, shared.shard);
    Err(ApiError::invalid(format!(
        "job_id {job} is in slice {slice}, which is none of shard {shard}: ask Route where to mint ids"
    )))
}

fn submit_result(outcome: Option<Outcome>) -> v1::SubmitResult {
    match outcome {
        Some(Outcome::Submitted(submitted)) => submitted.into(),
        Some(Outcome::Refused(refusal)) => ApiError::from(refusal).into(),
        other => odd(other).into(),
    }
}

/// Waits until the shard was told every policy that the submit's gateway knew of.
async fn see_metadata(shared: &Shared, index: u64) -> Result<(), ApiError> {
    let mut seen = shared.metadata_seen.subscribe();
    if *seen.borrow() >= index {
        return Ok(());
    }
    let caught_up = seen.wait_for(|seen| *seen >= index);
    if timeout(METADATA_PATIENCE, caught_up).await.is_ok() {
        return Ok(());
    }
    let (shard, seen) = (shared.shard, *seen.borrow());
    Err(ApiError::unavailable(format!(
        "shard {shard} knows the metadata up to {seen}, this submit was routed by {index}: try again shortly"
    )))
}

/// Room for the jobs' bytes, given back when they are answered.
fn admit<'a>(shared: &'a Shared, jobs: &[v1::NewJob]) -> Result<SemaphorePermit<'a>, ApiError> {
    let bytes: usize = jobs.iter().map(|job| job.payload.len() + 512).sum();
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    shared.admission.try_acquire_many(kib).map_err(|_| {
        let message = format!(
            "shard {} is writing as much as it can hold: come back in {BUSY:?}",
            shared.shard
        );
        ApiError::new(ErrorCode::ResourceExhausted, message).with_retry_after(BUSY)
    })
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
