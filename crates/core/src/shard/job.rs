//! A job and its history, as the shard keeps them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{
    Digest, FenceToken, IdempotencyKey, JobId, QueueName, RegionName, SessionId, TenantName,
    Timestamp, WorkerName,
};

use super::command::{ExpireReason, FailureClass, WorkPhase};
use crate::requirement::Requirement;

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
}

/// What scheduling does not need: in memory while young.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobBody {
    /// What the worker gets.
    pub payload: Bytes,
    /// Attempts that ended, oldest first, at most `limits::HISTORY`.
    pub history: Vec<AttemptRecord>,
    /// The accepted result, once done.
    pub result: Option<Bytes>,
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
    /// Has its result.
    Done {
        /// The fence that the result was accepted under.
        fence: FenceToken,
        /// SHA-256 of the result.
        digest: Digest,
        /// Stamp of the acceptance.
        at: Timestamp,
    },
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
            Self::Done { .. } => "done",
            Self::Cancelled { .. } => "cancelled",
            Self::Dead { .. } => "dead",
        }
    }

    /// Whether nothing more happens to the job by itself.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Done { .. } | Self::Cancelled { .. } | Self::Dead { .. }
        )
    }
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

/// Tries counted by what ended them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tries {
    /// Leases granted.
    pub granted: u32,
    /// Attempts that count against the queue's `max_attempts`.
    pub failed: u32,
    /// Leases that ran out.
    pub lost: u32,
    /// Faults that were not the job's.
    pub infrastructure: u32,
    /// Times it was handed back.
    pub released: u32,
    /// Times it was redriven out of the dead letters.
    pub redriven: u32,
}

/// One attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1, in the order of the grants.
    pub number: u32,
    /// The lease's fence.
    pub fence: FenceToken,
    /// On which worker.
    pub worker: WorkerName,
    /// Where.
    pub region: RegionName,
    /// Stamp of the grant.
    pub started_at: Timestamp,
    /// Stamp of the end.
    pub ended_at: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With the job's result.
    Completed,
    /// The worker reported a failure.
    Failed {
        /// What kind.
        class: FailureClass,
        /// One line for people.
        message: Arc<str>,
        /// More, such as the tail of stderr.
        detail: Bytes,
    },
    /// The lease ran out.
    Expired(ExpireReason),
    /// The worker handed it back.
    Released {
        /// Why.
        reason: Arc<str>,
    },
    /// The job was cancelled meanwhile.
    Cancelled,
}

/// A job with everything the shard keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What scheduling needs.
    pub header: JobHeader,
    /// What it does not.
    pub body: JobBody,
}

impl Job {
    /// Bytes that it holds beside its header: payload, result, history, and why it ended. The same on every replica.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let result = self.body.result.as_ref().map_or(0, Bytes::len);
        let history = self.body.history.iter().map(AttemptRecord::bytes);
        let reason = match &self.header.state {
            JobState::Cancelled { reason, .. } | JobState::Dead { reason, .. } => reason.len(),
            JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Leased(_)
            | JobState::Done { .. } => 0,
        };
        self.body.payload.len() + result + history.sum::<usize>() + reason
    }
}

/// About what an attempt takes beside its texts.
const RECORD_BYTES: usize = 256;

impl AttemptRecord {
    fn bytes(&self) -> usize {
        let texts = match &self.end {
            AttemptEnd::Failed {
                message, detail, ..
            } => message.len() + detail.len(),
            AttemptEnd::Released { reason } => reason.len(),
            AttemptEnd::Completed | AttemptEnd::Expired(_) | AttemptEnd::Cancelled => 0,
        };
        RECORD_BYTES + texts
    }
}
