//! Taking jobs in, from this node's gateway as values or from another's over the wire.

use std::time::Duration;

use leasehold_api::convert::submit::{check_batch, submit as to_submit};
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::records::ShardRecord;
use leasehold_core::shard::command::Submit;
use leasehold_core::shard::{Command, Outcome};
use leasehold_types::ErrorCode;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::writes::{odd, write};
use crate::metrics::SubmitOutcome;
use crate::shards::mailbox::METADATA_PATIENCE;
use crate::shards::replica::Shared;

/// When to come back after the log was too busy to take a submit.
const BUSY: Duration = Duration::from_millis(200);

/// Takes jobs in that came over the wire, each with its own answer.
pub(super) async fn submit(
    shared: &Shared,
    request: v1::ShardSubmit,
) -> Result<v1::SubmitResponse, ApiError> {
    check_batch(&request.jobs)?;
    let jobs = request.jobs.into_iter();
    let jobs = jobs.map(|job| to_submit(job, None).map_err(ApiError::from));
    let results = take_in(shared, jobs.collect(), request.metadata_index).await?;
    Ok(v1::SubmitResponse { results })
}

/// Takes jobs in, each with its own answer, in order. `metadata_index`: the newest policy that they were routed by.
pub(in crate::shards) async fn take_in(
    shared: &Shared,
    jobs: Vec<Result<Submit, ApiError>>,
    metadata_index: u64,
) -> Result<Vec<v1::SubmitResult>, ApiError> {
    see_metadata(shared, metadata_index).await?;
    let jobs = turn_away_for_want_of_space(shared, jobs);
    let _room = admit(shared, &jobs)?;
    let (commands, refused) = commands_of(shared, jobs);
    let proposed = u64::try_from(commands.len()).unwrap_or(u64::MAX);
    let written = write(shared, commands).await.inspect_err(|error| {
        if error.code == ErrorCode::Unknown {
            let metrics = &shared.context.metrics;
            metrics.submitted(SubmitOutcome::Unknown, proposed);
        }
    });
    let mut outcomes = written?.into_iter();
    let results = refused.into_iter().map(|refused| match refused {
        Some(error) => error.into(),
        None => submit_result(outcomes.next()),
    });
    Ok(results.collect())
}

/// The commands to write, and for each job in turn why it has none, or nothing.
fn commands_of(
    shared: &Shared,
    jobs: Vec<Result<Submit, ApiError>>,
) -> (Vec<Command>, Vec<Option<ApiError>>) {
    let cluster = &shared.context.cluster;
    let record = cluster.read(|metadata| metadata.shard(shared.shard).cloned());
    let mut commands = Vec::with_capacity(jobs.len());
    let refused = jobs.into_iter().map(|job| {
        match job.and_then(|submit| check_slice(shared, record.as_ref(), submit)) {
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

/// SUBTLE: an id of another shard's slice would be taken in here and never be found there: a repeat that goes to the
/// right shard would make a second job of it.
fn check_slice(
    shared: &Shared,
    record: Option<&ShardRecord>,
    submit: Submit,
) -> Result<Submit, ApiError> {
    let slice = submit.job.virtual_shard();
    if record.is_some_and(|record| record.holds(slice)) {
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

/// While the volume is short of space, only jobs that were taken in before: their repeats must be told so, and cost
/// next to nothing.
fn turn_away_for_want_of_space(
    shared: &Shared,
    jobs: Vec<Result<Submit, ApiError>>,
) -> Vec<Result<Submit, ApiError>> {
    let Err(no_space) = shared.context.room.admit("new jobs") else {
        return jobs;
    };
    let known = |submit: Submit| match shared.look(|state| state.has_taken_in(&submit)) {
        true => Ok(submit),
        false => Err(no_space.clone()),
    };
    jobs.into_iter().map(|job| job.and_then(known)).collect()
}

/// Room for the jobs' bytes, given back when they are answered.
fn admit<'a>(
    shared: &'a Shared,
    jobs: &[Result<Submit, ApiError>],
) -> Result<SemaphorePermit<'a>, ApiError> {
    let carried = jobs.iter().flatten().map(|job| job.payload.len() + 512);
    let kib = u32::try_from(carried.sum::<usize>().div_ceil(1024)).unwrap_or(u32::MAX);
    shared.admission.try_acquire_many(kib).map_err(|_| {
        let message = format!(
            "shard {} is writing as much as it can hold: come back in {BUSY:?}",
            shared.shard
        );
        ApiError::new(ErrorCode::ResourceExhausted, message).with_retry_after(BUSY)
    })
}
