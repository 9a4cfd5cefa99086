//! A lease that this worker holds, from the assignment until what came of it is answered.

use std::sync::Arc;
use std::time::Duration;

use leasehold_api::convert::workers::LeasedJob;
use leasehold_api::v1;
use leasehold_core::shard::command::{
    Complete, Fail, FailureClass, Release, ReleaseCause, WorkPhase,
};
use leasehold_core::shard::dispatcher::Renewal;
use leasehold_types::{FenceToken, JobId, limits};
use tokio::time::Instant;
use v1::worker_message::Body;

use super::failure::WorkError;
use super::hands::Outcome;
use super::vitals::Vitals;

/// Which lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LeaseKey {
    pub(super) job: JobId,
    pub(super) fence: FenceToken,
}

/// A lease and what is done under it.
#[derive(Debug)]
pub(super) struct Held {
    /// Its length.
    pub(super) lease: Duration,
    /// Number of the worker's message that it counts from.
    pub(super) counted_from: u64,
    /// No work is done under it from here on, unless it is renewed before.
    pub(super) deadline: Instant,
    /// When a leader was last heard about it.
    pub(super) heard_at: Instant,
    pub(super) vitals: Arc<Vitals>,
    pub(super) stage: Stage,
}

/// How far the work under a lease is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not started: no slot is free, or the lease has to be renewed first. Renewed as `queued`.
    Waiting {
        /// The work.
        job: Box<LeasedJob>,
        /// Order of arrival.
        order: u64,
    },
    /// A handler is at it.
    Running,
    /// Over; the write that says so is not answered yet.
    Reporting(Report),
}

/// A write that is repeated until it is answered.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) write: Write,
    /// When to send it, or to send it again.
    pub(super) due: Instant,
    pub(super) tries: u32,
    /// Whether the lease is still renewed meanwhile.
    pub(super) renews: bool,
}

/// What is reported about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    /// The result.
    Complete(Complete),
    /// A failure.
    Fail(Fail),
    /// The job goes back unrun.
    Release(Release),
}

impl Held {
    pub(super) fn report(&mut self, write: Write, now: Instant) {
        self.vitals.enter(WorkPhase::Uploading);
        self.stage = Stage::Reporting(Report {
            write,
            due: now,
            tries: 0,
            renews: true,
        });
    }

    pub(super) fn renewal(&self, key: &LeaseKey) -> Renewal {
        Renewal {
            job: key.job,
            fence: key.fence,
            progress: self.vitals.progress(),
            phase: self.vitals.phase(),
        }
    }

    pub(super) const fn renews(&self) -> bool {
        match &self.stage {
            Stage::Waiting { .. } | Stage::Running => true,
            Stage::Reporting(report) => report.renews,
        }
    }

    /// When the lease is given up by itself. A report is never given up: the log decides what it is worth.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting { .. } => Some(self.heard_at + self.lease),
            Stage::Running => Some(self.deadline),
            Stage::Reporting(_) => None,
        }
    }
}

impl Write {
    /// What a handler's outcome is reported as.
    pub(super) fn of(key: &LeaseKey, outcome: Outcome) -> Self {
        let LeaseKey { job, fence } = *key;
        match outcome {
            Outcome::Completed { result, .. } if result.len() > limits::INLINE_BYTES => {
                Self::failed(key, too_large(result.len()))
            }
            Outcome::Completed { result, digest } => Self::Complete(Complete {
                job,
                fence,
                result,
                digest,
            }),
            Outcome::Failed(error) => Self::failed(key, error),
            Outcome::Dropped => Self::released(key, "the handler was stopped"),
        }
    }

    pub(super) fn failed(key: &LeaseKey, error: WorkError) -> Self {
        Self::Fail(Fail {
            job: key.job,
            fence: key.fence,
            class: error.class,
            message: error.message,
            detail: error.detail,
            retry_after: error.retry_after,
        })
    }

    pub(super) fn released(key: &LeaseKey, reason: &str) -> Self {
        Self::Release(Release {
            job: key.job,
            fence: key.fence,
            reason: reason.to_owned(),
            cause: ReleaseCause::Worker,
        })
    }

    pub(super) fn body(&self) -> Body {
        match self {
            Self::Complete(complete) => Body::Complete(complete.clone().into()),
            Self::Fail(fail) => Body::Fail(fail.clone().into()),
            Self::Release(release) => Body::Release(release.clone().into()),
        }
    }

    /// What to report instead of a write that is refused for what it is; none when there is nothing better to say.
    pub(super) fn instead(&self, key: &LeaseKey, refusal: &str) -> Option<Self> {
        let (class, what) = match self {
            Self::Complete(_) => (FailureClass::Permanent, "the result was refused"),
            Self::Release(_) => (
                FailureClass::Infrastructure,
                "the job could not be released",
            ),
            Self::Fail(_) => return None,
        };
        let message = format!("{what}: {refusal}");
        Some(Self::failed(key, WorkError::new(class, message)))
    }
}

fn too_large(bytes: usize) -> WorkError {
    let most = limits::INLINE_BYTES;
    WorkError::permanent(format!(
        "the result has {bytes} bytes, at most {most} are kept"
    ))
}
