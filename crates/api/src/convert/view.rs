//! A job as its owner sees it.
//!
//! `core` shows ages and waits as spans before its own stamp, and attempts by their stamps; on the wire everything is
//! a span before the stamp that the answer names. Reading back needs that stamp again.

use std::time::Duration;

use leasehold_core::shard::job::{AttemptEnd, AttemptRecord, Tries};
use leasehold_core::shard::view::{JobStatus, JobView, StateName};
use leasehold_types::{Digest, Timestamp};

use super::spans::{ms, ms_up};
use super::words::{expire_reason, failure_class, state_name, work_phase};
use super::{ConvertError, digest, fence, job_id, labels, parsed, parsed_if_given, session};
use crate::v1;

/// A job on its way out; `stamp` is the shard clock of the view.
#[must_use]
pub fn job(view: JobView, stamp: Timestamp) -> v1::Job {
    let attempt = |record| attempt(record, stamp);
    let base = v1::Job {
        job_id: view.id.to_string(),
        queue: view.queue.into(),
        tenant: view.tenant.into(),
        idempotency_key: view.key.map(String::from).unwrap_or_default(),
        priority: u32::from(view.priority),
        requirement: Some((&view.requirement).into()),
        age_ms: ms(view.age),
        remaining_ms: ms(view.remaining),
        tries: Some(view.tries.into()),
        payload: view.payload,
        digest: view.digest.as_bytes().to_vec().into(),
        history: view.history.into_iter().map(attempt).collect(),
        ..v1::Job::default()
    };
    with_status(base, view.status)
}

fn with_status(base: v1::Job, status: JobStatus) -> v1::Job {
    let base = v1::Job {
        state: v1::JobState::from(name_of(&status)) as i32,
        ..base
    };
    let (due_in_ms, lease, done, ended) = particulars(status);
    v1::Job {
        due_in_ms,
        lease,
        done,
        ended,
        ..base
    }
}

/// The state of a job without its particulars.
#[must_use]
pub const fn name_of(status: &JobStatus) -> StateName {
    match status {
        JobStatus::Waiting { .. } => StateName::Waiting,
        JobStatus::Ready => StateName::Ready,
        JobStatus::Leased { .. } => StateName::Leased,
        JobStatus::Done { .. } => StateName::Done,
        JobStatus::Cancelled { .. } => StateName::Cancelled,
        JobStatus::Dead { .. } => StateName::Dead,
    }
}

type Particulars = (
    u64,
    Option<v1::LeaseView>,
    Option<v1::DoneView>,
    Option<v1::EndedView>,
);

fn particulars(status: JobStatus) -> Particulars {
    match status {
        JobStatus::Waiting { remaining } => (ms_up(remaining), None, None, None),
        JobStatus::Ready => (0, None, None, None),
        leased @ JobStatus::Leased { .. } => (0, lease_view(leased), None, None),
        done @ JobStatus::Done { .. } => (0, None, done_view(done), None),
        ended @ (JobStatus::Cancelled { .. } | JobStatus::Dead { .. }) => {
            (0, None, None, ended_view(ended))
        }
    }
}

fn lease_view(status: JobStatus) -> Option<v1::LeaseView> {
    let JobStatus::Leased {
        fence,
        worker,
        session,
        region,
        running,
        progress,
        phase,
    } = status
    else {
        return None;
    };
    Some(v1::LeaseView {
        fence: fence.to_string(),
        worker: worker.into(),
        session: session.to_string(),
        region: region.into(),
        running_ms: ms(running),
        progress,
        phase: v1::WorkPhase::from(phase) as i32,
    })
}

fn done_view(status: JobStatus) -> Option<v1::DoneView> {
    let JobStatus::Done {
        result,
        digest,
        fence,
        ago,
    } = status
    else {
        return None;
    };
    Some(v1::DoneView {
        result,
        digest: digest.as_bytes().to_vec().into(),
        fence: fence.to_string(),
        ago_ms: ms(ago),
    })
}

fn ended_view(status: JobStatus) -> Option<v1::EndedView> {
    let (reason, class, ago) = match status {
        JobStatus::Cancelled { reason, ago } => (reason, v1::FailureClass::Unspecified, ago),
        JobStatus::Dead { class, reason, ago } => (reason, class.into(), ago),
        JobStatus::Waiting { .. }
        | JobStatus::Ready
        | JobStatus::Leased { .. }
        | JobStatus::Done { .. } => return None,
    };
    Some(v1::EndedView {
        reason,
        class: class as i32,
        ago_ms: ms(ago),
    })
}

fn attempt(record: AttemptRecord, stamp: Timestamp) -> v1::Attempt {
    v1::Attempt {
        number: record.number,
        fence: record.fence.to_string(),
        worker: record.worker.into(),
        region: record.region.into(),
        started_ago_ms: ms(stamp.since(record.started_at)),
        ended_ago_ms: ms(stamp.since(record.ended_at)),
        end: Some(record.end.into()),
    }
}

impl From<AttemptEnd> for v1::attempt::End {
    fn from(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Completed => Self::Completed(v1::AttemptCompleted {}),
            AttemptEnd::Failed {
                class,
                message,
                detail,
            } => Self::Failed(v1::AttemptFailed {
                class: v1::FailureClass::from(class) as i32,
                message: message.to_string(),
                detail,
            }),
            AttemptEnd::Expired(reason) => Self::Expired(v1::ExpireReason::from(reason) as i32),
            AttemptEnd::Released { reason } => Self::Released(v1::AttemptReleased {
                reason: reason.to_string(),
            }),
            AttemptEnd::Cancelled => Self::Cancelled(v1::AttemptCancelled {}),
        }
    }
}

impl From<Tries> for v1::Tries {
    fn from(tries: Tries) -> Self {
        Self {
            granted: tries.granted,
            failed: tries.failed,
            lost: tries.lost,
            infrastructure: tries.infrastructure,
            released: tries.released,
            redriven: tries.redriven,
        }
    }
}

impl From<v1::Tries> for Tries {
    fn from(wire: v1::Tries) -> Self {
        Self {
            granted: wire.granted,
            failed: wire.failed,
            lost: wire.lost,
            infrastructure: wire.infrastructure,
            released: wire.released,
            redriven: wire.redriven,
        }
    }
}

/// A job as read from an answer; `stamp` is the one that the answer names, zero for a list, whose jobs come without
/// their attempts.
///
/// # Errors
/// The first field that is missing, malformed or of a newer version.
pub fn job_view(wire: v1::Job, stamp: Timestamp) -> Result<JobView, ConvertError> {
    let status = status(&wire)?;
    let read = |attempt| attempt_record(attempt, stamp);
    Ok(JobView {
        id: job_id(&wire.job_id)?,
        queue: parsed("queue", &wire.queue)?,
        tenant: parsed("tenant", &wire.tenant)?,
        key: parsed_if_given("idempotency_key", &wire.idempotency_key)?,
        priority: priority(wire.priority)?,
        requirement: labels::requirement(wire.requirement)?,
        age: Duration::from_millis(wire.age_ms),
        remaining: Duration::from_millis(wire.remaining_ms),
        status,
        tries: wire.tries.unwrap_or_default().into(),
        payload: wire.payload,
        digest: digest("digest", &wire.digest)?,
        history: (wire.history.into_iter().map(read)).collect::<Result<_, _>>()?,
    })
}

fn priority(given: u32) -> Result<u8, ConvertError> {
    u8::try_from(given).map_err(|_| ConvertError::OverLimit {
        field: "priority",
        given: u64::from(given),
        most: u64::from(u8::MAX),
        unit: "(9 is the highest)",
    })
}

fn status(wire: &v1::Job) -> Result<JobStatus, ConvertError> {
    match state_name("state", wire.state)? {
        StateName::Waiting => Ok(JobStatus::Waiting {
            remaining: Duration::from_millis(wire.due_in_ms),
        }),
        StateName::Ready => Ok(JobStatus::Ready),
        StateName::Leased => leased(needed("lease", wire.lease.as_ref())?),
        StateName::Done => done(needed("done", wire.done.as_ref())?),
        StateName::Cancelled => {
            let ended = needed("ended", wire.ended.as_ref())?;
            Ok(JobStatus::Cancelled {
                reason: ended.reason.clone(),
                ago: Duration::from_millis(ended.ago_ms),
            })
        }
        StateName::Dead => dead(needed("ended", wire.ended.as_ref())?),
    }
}

fn needed<T>(field: &'static str, given: Option<T>) -> Result<T, ConvertError> {
    given.ok_or(ConvertError::Missing { field })
}

fn leased(wire: &v1::LeaseView) -> Result<JobStatus, ConvertError> {
    Ok(JobStatus::Leased {
        fence: fence(&wire.fence)?,
        worker: parsed("worker", &wire.worker)?,
        session: session(&wire.session)?,
        region: parsed("region", &wire.region)?,
        running: Duration::from_millis(wire.running_ms),
        progress: wire.progress,
        phase: work_phase("phase", wire.phase)?,
    })
}

fn done(wire: &v1::DoneView) -> Result<JobStatus, ConvertError> {
    let digest: Digest = digest("digest", &wire.digest)?;
    Ok(JobStatus::Done {
        result: wire.result.clone(),
        digest,
        fence: fence(&wire.fence)?,
        ago: Duration::from_millis(wire.ago_ms),
    })
}

fn dead(wire: &v1::EndedView) -> Result<JobStatus, ConvertError> {
    Ok(JobStatus::Dead {
        class: failure_class("class", wire.class)?,
        reason: wire.reason.clone(),
        ago: Duration::from_millis(wire.ago_ms),
    })
}

fn attempt_record(wire: v1::Attempt, stamp: Timestamp) -> Result<AttemptRecord, ConvertError> {
    Ok(AttemptRecord {
        number: wire.number,
        fence: fence(&wire.fence)?,
        worker: parsed("worker", &wire.worker)?,
        region: parsed("region", &wire.region)?,
        started_at: stamp - Duration::from_millis(wire.started_ago_ms),
        ended_at: stamp - Duration::from_millis(wire.ended_ago_ms),
        end: attempt_end(needed("end", wire.end)?)?,
    })
}

fn attempt_end(wire: v1::attempt::End) -> Result<AttemptEnd, ConvertError> {
    match wire {
        v1::attempt::End::Completed(v1::AttemptCompleted {}) => Ok(AttemptEnd::Completed),
        v1::attempt::End::Failed(failed) => Ok(AttemptEnd::Failed {
            class: failure_class("class", failed.class)?,
            message: failed.message.into(),
            detail: failed.detail,
        }),
        v1::attempt::End::Expired(reason) => {
            expire_reason("expired", reason).map(AttemptEnd::Expired)
        }
        v1::attempt::End::Released(released) => Ok(AttemptEnd::Released {
            reason: released.reason.into(),
        }),
        v1::attempt::End::Cancelled(v1::AttemptCancelled {}) => Ok(AttemptEnd::Cancelled),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
