//! A job as the shard keeps it: a header that every rule may read, and a body that none does.

mod attempt;
mod body;

use std::sync::Arc;
use std::time::Duration;

use leasehold_types::{
    Digest, FenceToken, IdempotencyKey, JobId, QueueName, RegionName, SessionId, TenantName,
    Timestamp, WorkerName,
};

use super::command::{FailureClass, WorkPhase};
use crate::requirement::Requirement;

pub use attempt::{AttemptEnd, AttemptRecord, Recent, Tries};
pub use body::{JobBody, Length, Part, Stored};

use body::{evict_attempts, evict_part};

/// The part of a job that scheduling needs: small, always in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHeader {
    /// The id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Whose it is.
    pub tenant: TenantName,
    /// The caller's own key.
    pub key: Option<IdempotencyKey>,
    /// SHA-256 of the payload.
    pub digest: Digest,
    /// Higher first among the jobs of one tenant.
    pub priority: u8,
    /// What it asks of a worker.
    pub requirement: Arc<Requirement>,
    /// Order of arrival in this shard; a retried job keeps its place.
    pub sequence: u64,
    /// Stamp of the submit.
    pub submitted_at: Timestamp,
    /// Stamp by which it must have ended.
    pub expires_at: Timestamp,
    /// Where it is in its life.
    pub state: JobState,
    /// Tries counted so far.
    pub tries: Tries,
    /// The newest fence ever granted for it.
    pub last_fence: Option<FenceToken>,
    /// What rules go by of its attempts; none before the first, and once it has ended.
    pub recent: Option<Box<Recent>>,
}

impl JobHeader {
    /// The current lease.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            JobState::Leased(lease) => Some(lease),
            JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Done(_)
            | JobState::Cancelled { .. }
            | JobState::Dead { .. } => None,
        }
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Not before `due`: delayed by its submitter or backing off.
    Waiting {
        /// Stamp at which it becomes ready.
        due: Timestamp,
    },
    /// Can be granted.
    Ready,
    /// A worker has it.
    Leased(Box<Lease>),
    /// Has its result. Boxed, since what most jobs of a long queue are must not be as large as the largest.
    Done(Box<Acceptance>),
    /// Ended by its owner.
    Cancelled {
        /// In the caller's words.
        reason: Arc<str>,
        /// Stamp of the cancel.
        at: Timestamp,
    },
    /// A dead letter.
    Dead {
        /// What kind of failure ended it.
        class: FailureClass,
        /// One line for people.
        reason: Arc<str>,
        /// Stamp of its death.
        at: Timestamp,
    },
}

impl JobState {
    /// The state in a word, as people see it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Ready => "ready",
            Self::Leased(_) => "leased",
            Self::Done(_) => "done",
            Self::Cancelled { .. } => "cancelled",
            Self::Dead { .. } => "dead",
        }
    }

    /// Whether nothing more happens to the job by itself.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Done(_) | Self::Cancelled { .. } | Self::Dead { .. }
        )
    }
}

/// A result was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance {
    /// The fence that the result was accepted under.
    pub fence: FenceToken,
    /// SHA-256 of the result.
    pub digest: Digest,
    /// Stamp of the acceptance.
    pub at: Timestamp,
}

/// A time-bound right to run one attempt. Its deadline is the leader's memory; what is here survives a takeover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The fence token.
    pub fence: FenceToken,
    /// Who holds it.
    pub session: SessionId,
    /// The holder's name.
    pub worker: WorkerName,
    /// The holder's region.
    pub region: RegionName,
    /// Stamp of the grant.
    pub granted_at: Timestamp,
    /// Length between renewals.
    pub length: Duration,
    /// Stamp of the grant, of the newest logged contact, or of the first takeover after it.
    pub contact: Timestamp,
    /// Takeovers since the last contact.
    pub rearms: u32,
    /// Left at the newest takeover; the whole length before any.
    pub left: Duration,
    /// The worker's progress counter, as last logged.
    pub progress: u64,
    /// Stamp at which the counter last rose, as last logged.
    pub progressed_at: Timestamp,
    /// What the worker was doing, as last logged.
    pub phase: WorkPhase,
}

/// A job with everything the shard keeps of it. What is in memory and what in the checkpoint alone may differ between
/// replicas, so nothing that is replicated may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What scheduling needs.
    pub header: JobHeader,
    /// What of the rest is in memory. Boxed, since most jobs of a long queue have nothing there.
    body: Option<Box<JobBody>>,
    stored: Stored,
}

const NOTHING: &JobBody = &JobBody {
    payload: None,
    attempts: Vec::new(),
    result: None,
};

impl Job {
    /// Puts a job together.
    #[must_use]
    pub fn new(header: JobHeader, body: JobBody, stored: Stored) -> Self {
        let body = (!body.is_empty()).then(|| Box::new(body));
        Self {
            header,
            body,
            stored,
        }
    }

    /// What of it is in memory beside the header.
    #[must_use]
    pub fn body(&self) -> &JobBody {
        self.body.as_deref().unwrap_or(NOTHING)
    }

    /// What of it is in the checkpoint alone.
    #[must_use]
    pub const fn stored(&self) -> Stored {
        self.stored
    }

    /// Changes what is in memory.
    pub(super) fn change_body(&mut self, change: impl FnOnce(&mut JobBody)) {
        let mut body = self.body.take().unwrap_or_default();
        change(&mut body);
        self.body = (!body.is_empty()).then_some(body);
    }

    /// Puts down an attempt that ended.
    pub(super) fn record(&mut self, attempt: AttemptRecord) {
        let known = self.header.recent.as_ref().and_then(|recent| recent.class);
        let recent = Recent {
            worker: attempt.worker.clone(),
            class: attempt.end.class().or(known),
            astray: None,
        };
        self.close_recent();
        self.header.recent = Some(Box::new(recent));
        self.change_body(|body| body.attempts.push(attempt));
    }

    /// Puts down an attempt that reached no worker, in the place of one before it.
    pub(super) fn record_astray(&mut self, attempt: AttemptRecord) {
        let class = self.header.recent.as_ref().and_then(|recent| recent.class);
        self.header.recent = Some(Box::new(Recent {
            worker: attempt.worker.clone(),
            class,
            astray: Some(Box::new(attempt)),
        }));
    }

    /// Nothing goes by its attempts any more: all of them are history.
    pub(super) fn close_recent(&mut self) {
        let recent = self.header.recent.take();
        if let Some(astray) = recent.and_then(|recent| recent.astray) {
            self.change_body(|body| body.attempts.push(*astray));
        }
    }

    /// Lets go of the payload, wherever it is.
    pub(super) fn drop_payload(&mut self) {
        self.stored.payload = None;
        if self.body().payload.is_some() {
            self.change_body(|body| body.payload = None);
        }
    }

    /// Lets go of what a checkpoint has: the payload or the result if told so, and attempts up to a number.
    pub(super) fn evict(&mut self, payload: bool, result: bool, attempts_upto: u32) {
        let mut stored = self.stored;
        self.change_body(|body| {
            evict_part(payload, &mut body.payload, &mut stored.payload);
            evict_part(result, &mut body.result, &mut stored.result);
            evict_attempts(&mut body.attempts, attempts_upto, &mut stored.attempts);
        });
        self.stored = stored;
    }

    /// Bytes that it holds: payload, result, attempts, and why it ended. The same on every replica, whatever is in
    /// memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let reason = match &self.header.state {
            JobState::Cancelled { reason, .. } | JobState::Dead { reason, .. } => reason.len(),
            JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Leased(_)
            | JobState::Done(_) => 0,
        };
        let recent = self.header.recent.as_ref().map_or(0, |r| r.bytes());
        self.body().bytes() + self.stored.bytes() + recent + reason
    }

    /// How many bytes are in memory that the next checkpoint may let go of.
    #[must_use]
    pub fn unsaved_bytes(&self) -> usize {
        self.body().bytes()
    }
}
