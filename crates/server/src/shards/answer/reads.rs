//! Calls that look at jobs: all behind a read barrier, so that what they show is not older than the call.

use std::time::Duration;

use leasehold_api::convert::admin::{shard as shard_record, with_stats};
use leasehold_api::convert::jobs::{list_response, seen};
use leasehold_api::convert::{job_id, view};
use leasehold_api::{ApiError, v1};
use leasehold_consensus::{ReadError, StoredError};
use leasehold_core::shard::view::{Elsewhere, JobFilter, JobStatus, JobView};
use leasehold_types::{JobId, ShardEpoch, Timestamp, limits};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ask;
use crate::replica_status::group_status;
use crate::shards::mailbox::{Event, LeaderView};
use crate::shards::replica::Shared;

/// How long a wait is held open when it names no time.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// A job is looked at so often before it is said that parts of it are missing: it goes on a step in between.
const LOOKS: u32 = 8;

pub(super) async fn get(
    shared: &Shared,
    request: &v1::GetRequest,
) -> Result<v1::GetResponse, ApiError> {
    let job = job_id(&request.job_id)?;
    barrier(shared).await?;
    let (job, seen) = as_it_is(shared, job).await?;
    Ok(v1::GetResponse {
        job: Some(job),
        seen: Some(seen),
    })
}

/// Returns once the job has ended or the time is up. Signs up first and looks then, so that no end is missed.
pub(super) async fn wait(
    shared: &Shared,
    request: &v1::WaitRequest,
) -> Result<v1::WaitResponse, ApiError> {
    let job = job_id(&request.job_id)?;
    let ended = shared.waiters.sign_up(job);
    let waited = wait_for_end(shared, job, ended, patience(request.timeout_ms)).await;
    shared.waiters.forget_the_gone(job);
    waited?;
    let (job, seen) = as_it_is(shared, job).await?;
    Ok(v1::WaitResponse {
        job: Some(job),
        seen: Some(seen),
    })
}

async fn wait_for_end(
    shared: &Shared,
    job: JobId,
    ended: oneshot::Receiver<()>,
    patience: Duration,
) -> Result<(), ApiError> {
    barrier(shared).await?;
    let has_ended = shared.look(|state| {
        let known = state.is_terminal(job);
        known.ok_or_else(|| ApiError::from(state.absent(job)))
    })?;
    if has_ended {
        return Ok(());
    }
    match timeout(patience, ended).await {
        Ok(Ok(())) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(shared.not_leader()),
    }
}

fn patience(asked_ms: u64) -> Duration {
    match asked_ms {
        0 => WAIT_DEFAULT,
        ms => Duration::from_millis(ms).min(limits::WAIT_MAX),
    }
}

pub(super) async fn list(
    shared: &Shared,
    request: &v1::ListRequest,
) -> Result<v1::ListResponse, ApiError> {
    let filter = JobFilter::try_from(request)?;
    barrier(shared).await?;
    Ok(shared.look(|state| list_response(state.list(&filter), state.stamp())))
}

/// The shard as its leader knows it.
pub(super) async fn status(shared: &Shared) -> Result<v1::Shard, ApiError> {
    let view = ask(shared, |reply| Event::Look { reply }).await;
    let view = view.ok_or_else(|| shared.not_leader())?;
    let cluster = &shared.context.cluster;
    let record = cluster.read(|metadata| metadata.shard(shared.shard).map(shard_record));
    let shard = with_stats(record.unwrap_or_default(), cluster.node(), &view.stats);
    Ok(with_view(shared, shard, &view))
}

fn with_view(shared: &Shared, shard: v1::Shard, view: &LeaderView) -> v1::Shard {
    let by_region = view.leases_by_region.iter();
    v1::Shard {
        leader_region: shared.context.cluster.region().as_str().to_owned(),
        workers: u32::try_from(view.sessions).unwrap_or(u32::MAX),
        free_slots: view.free_slots,
        leases_by_region: by_region
            .map(|(region, leases)| (region.as_str().to_owned(), *leases))
            .collect(),
        stale_writes_refused: view.stale_writes_refused,
        replica: Some(group_status(shared.group.id(), &shared.group.status())),
        ..shard
    }
}

/// A job as the log has it, and as of when.
struct Found {
    view: JobView,
    epoch: ShardEpoch,
    stamp: Timestamp,
}

/// The job as the log has it, and a leased one's progress as its leader last heard it.
async fn as_it_is(shared: &Shared, id: JobId) -> Result<(v1::Job, v1::Seen), ApiError> {
    let mut found = whole(shared, id).await?;
    if let JobStatus::Leased {
        fence,
        progress,
        phase,
        ..
    } = &mut found.view.status
    {
        let live = ask(shared, |reply| Event::Live { job: id, reply }).await;
        if let Some(live) = live.flatten().filter(|live| live.fence == *fence) {
            (*progress, *phase) = (live.progress, live.phase);
        }
    }
    let Found { view, epoch, stamp } = found;
    Ok((view::job(view, stamp), seen(epoch, stamp)))
}

/// The job with what has to be read back. Where a part is gone by then the job has gone on meanwhile: it is looked at again.
async fn whole(shared: &Shared, id: JobId) -> Result<Found, ApiError> {
    for _ in 0..LOOKS {
        let (mut found, elsewhere) = look_up(shared, id)?;
        let Some(elsewhere) = elsewhere else {
            return Ok(found);
        };
        let parts = shared.group.stored_parts(elsewhere).await;
        let parts = parts.map_err(|error| unreadable(&error))?;
        if parts.has_all(&elsewhere.stored) {
            found.view.add(parts);
            return Ok(found);
        }
    }
    Err(ApiError::internal(format!(
        "parts of job {id} are not in the checkpoint of its shard"
    )))
}

fn look_up(shared: &Shared, id: JobId) -> Result<(Found, Option<Elsewhere>), ApiError> {
    shared.look(|state| {
        let view = state.job(id).ok_or_else(|| state.absent(id))?;
        let (epoch, stamp) = (state.epoch(), state.stamp());
        let found = Found { view, epoch, stamp };
        Ok((found, state.elsewhere(id)))
    })
}

fn unreadable(error: &StoredError) -> ApiError {
    let message = format!("the job cannot be read: {error}");
    match error.is_for_want_of_space() {
        true => ApiError::unavailable(message),
        false => ApiError::internal(message),
    }
}

async fn barrier(shared: &Shared) -> Result<(), ApiError> {
    shared.barrier.pass().await.map_err(|error| match error {
        ReadError::NotLeader { .. } | ReadError::Stopped => shared.not_leader(),
        ReadError::NoQuorum | ReadError::Lagging => {
            ApiError::unavailable(format!("shard {}: {error}", shared.shard))
        }
    })
}
