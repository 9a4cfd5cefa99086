//! A job and its history, as the shard keeps them.

use std::num::NonZeroU32;
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

/// What scheduling does not need: in memory while young, later in the checkpoint alone (see [`Stored`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobBody {
    /// What the worker gets. Let go of once the job is done or cancelled: nobody is given it any more.
    pub payload: Option<Bytes>,
    /// Attempts that ended since the last redrive, oldest first, at most `limits::HISTORY`.
    pub history: Vec<AttemptRecord>,
    /// Attempts from before the last redrive that no checkpoint has yet.
    pub earlier: Vec<AttemptRecord>,
    /// The accepted result, once done.
    pub result: Option<Bytes>,
}

impl JobBody {
    const fn is_empty(&self) -> bool {
        self.payload.is_none()
            && self.result.is_none()
            && self.history.is_empty()
            && self.earlier.is_empty()
    }

    fn bytes(&self) -> usize {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let attempts = self.history.iter().chain(&self.earlier);
        let attempts: usize = attempts.map(AttemptRecord::bytes).sum();
        length(&self.payload) + length(&self.result) + attempts
    }
}

/// What of a job is in the checkpoint alone: its length in bytes, none for a part that is in memory or that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// The payload.
    pub payload: Option<Length>,
    /// The result.
    pub result: Option<Length>,
    /// Attempts that ended, as [`AttemptRecord::bytes`] counts them.
    pub attempts: Option<Length>,
}

/// A length in bytes, of four bytes also where there may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(NonZeroU32);

impl Length {
    /// A length; what is longer than four gigabytes counts as that.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let one_more = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(one_more).unwrap_or(NonZeroU32::MIN))
    }

    /// The length in bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }

    /// Both together.
    fn and(self, more: usize) -> Self {
        Self::new(
            usize::try_from(self.get())
                .unwrap_or(usize::MAX)
                .saturating_add(more),
        )
    }
}

impl Stored {
    /// Whether nothing is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.payload.is_none() && self.result.is_none() && self.attempts.is_none()
    }

    fn bytes(&self) -> usize {
        let parts = [self.payload, self.result, self.attempts];
        let lengths = parts.into_iter().flatten();
        lengths
            .map(|length| usize::try_from(length.get()).unwrap_or(usize::MAX))
            .sum()
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
    history: Vec::new(),
    earlier: Vec::new(),
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
    pub(super) fn change_body(&mut self, change: impl FnOnce(&mut JobHeader, &mut JobBody)) {
        let mut body = self.body.take().unwrap_or_default();
        change(&mut self.header, &mut body);
        self.body = (!body.is_empty()).then_some(body);
    }

    /// Lets go of the payload, wherever it is.
    pub(super) fn drop_payload(&mut self) {
        self.stored.payload = None;
        if self.body().payload.is_some() {
            self.change_body(|_, body| body.payload = None);
        }
    }

    /// Lets go of what a checkpoint has: the payload or the result if told so, and attempts up to a number.
    pub(super) fn evict(&mut self, payload: bool, result: bool, attempts_upto: u32) {
        let is_over = self.header.state.is_terminal();
        let mut stored = self.stored;
        self.change_body(|_, body| {
            evict_part(payload, &mut body.payload, &mut stored.payload);
            evict_part(result, &mut body.result, &mut stored.result);
            evict_attempts(&mut body.earlier, attempts_upto, &mut stored.attempts);
            if is_over {
                evict_attempts(&mut body.history, attempts_upto, &mut stored.attempts);
            }
        });
        self.stored = stored;
    }

    /// Bytes that it holds beside its header: payload, result, history, and why it ended. The same on every replica,
    /// whatever is in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let reason = match &self.header.state {
            JobState::Cancelled { reason, .. } | JobState::Dead { reason, .. } => reason.len(),
            JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Leased(_)
            | JobState::Done(_) => 0,
        };
        self.body().bytes() + self.stored.bytes() + reason
    }

    /// How many bytes are in memory that the next checkpoint may let go of.
    #[must_use]
    pub fn unsaved_bytes(&self) -> usize {
        let stays = match self.header.state.is_terminal() {
            true => 0,
            false => self.body().history.iter().map(AttemptRecord::bytes).sum(),
        };
        self.body().bytes() - stays
    }
}

fn evict_part(is_saved: bool, held: &mut Option<Bytes>, stored: &mut Option<Length>) {
    if let Some(part) = held.take_if(|_| is_saved) {
        *stored = Some(Length::new(part.len()));
    }
}

fn evict_attempts(held: &mut Vec<AttemptRecord>, upto: u32, stored: &mut Option<Length>) {
    let saved = held.iter().filter(|attempt| attempt.number <= upto);
    let bytes: usize = saved.map(AttemptRecord::bytes).sum();
    held.retain(|attempt| attempt.number > upto);
    if bytes > 0 {
        *stored = Some(stored.unwrap_or(Length::new(0)).and(bytes));
    }
}

/// About what an attempt takes beside its texts.
const RECORD_BYTES: usize = 256;

impl AttemptRecord {
    /// About what the record takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
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
