//! What a reader may see of a shard. Times are spans before the view's own stamp: clocks stay where they are.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{
    Digest, FenceToken, IdempotencyKey, JobId, QueueName, RegionName, SessionId, ShardEpoch,
    TenantName, Timestamp, WorkerName, limits,
};

use super::command::{FailureClass, WorkPhase};
use super::job::{AttemptRecord, Part, Stored, Tries};
use super::state::Rows;
use crate::requirement::Requirement;

/// A job as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Whose it is.
    pub tenant: TenantName,
    /// The caller's own key.
    pub key: Option<IdempotencyKey>,
    /// Higher first.
    pub priority: u8,
    /// What it asks of a worker.
    pub requirement: Requirement,
    /// Time since the submit.
    pub age: Duration,
    /// Time left until its deadline; zero once passed or ended.
    pub remaining: Duration,
    /// Where it is in its life.
    pub status: JobStatus,
    /// Tries so far.
    pub tries: Tries,
    /// What the worker gets; empty in lists, and once the job is done or cancelled.
    pub payload: Bytes,
    /// SHA-256 of the payload.
    pub digest: Digest,
    /// Attempts that ended, oldest first; empty in lists.
    pub history: Vec<AttemptRecord>,
}

/// A job's state as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStatus {
    /// Delayed or backing off.
    Waiting {
        /// Until it becomes ready.
        remaining: Duration,
    },
    /// Can be granted.
    Ready,
    /// A worker has it.
    Leased {
        /// The lease's fence.
        fence: FenceToken,
        /// Who has it.
        worker: WorkerName,
        /// Its session.
        session: SessionId,
        /// Where.
        region: RegionName,
        /// Time since the grant.
        running: Duration,
        /// As last logged; the leader may know better.
        progress: u64,
        /// As last logged.
        phase: WorkPhase,
    },
    /// Has its result.
    Done {
        /// The result; empty in lists.
        result: Bytes,
        /// SHA-256 of the result.
        digest: Digest,
        /// The fence it was accepted under.
        fence: FenceToken,
        /// Time since.
        ago: Duration,
    },
    /// Ended by its owner.
    Cancelled {
        /// In the caller's words.
        reason: String,
        /// Time since.
        ago: Duration,
    },
    /// A dead letter.
    Dead {
        /// What kind of failure ended it.
        class: FailureClass,
        /// One line for people.
        reason: String,
        /// Time since.
        ago: Duration,
    },
}

/// Where the rest of a job is that a view of the state cannot show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// The job's place in the order of arrival: its rows go by that.
    pub sequence: u64,
    /// How many packs of attempts its run has: a job's attempts may be in any of them, the newest in the last.
    pub packs: u32,
    /// What is in the checkpoint alone.
    pub stored: Stored,
    /// Where that is.
    pub rows: Rows,
}

impl Elsewhere {
    /// The first arrival of the bundle with a part of it; none when there is no such part, or when it is in memory.
    #[must_use]
    pub fn bundle(&self, part: Part) -> Option<u64> {
        let bundle = self.rows.bundle(part)?;
        let is_stored = self.stored.has(part);
        is_stored.then_some(bundle.first(self.sequence))
    }
}

/// What was read back of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredParts {
    /// Its payload.
    pub payload: Option<Bytes>,
    /// Its result.
    pub result: Option<Bytes>,
    /// Its attempts that ended.
    pub attempts: Vec<AttemptRecord>,
}

impl StoredParts {
    /// Whether everything is there that was said to be stored: what is not was let go of meanwhile.
    #[must_use]
    pub const fn has_all(&self, stored: &Stored) -> bool {
        (stored.payload.is_none() || self.payload.is_some())
            && (stored.result.is_none() || self.result.is_some())
            && (stored.attempts.is_none() || !self.attempts.is_empty())
    }
}

impl JobView {
    /// Adds what was read back. The newest `limits::HISTORY` attempts are shown.
    pub fn add(&mut self, parts: StoredParts) {
        if let Some(payload) = parts.payload {
            self.payload = payload;
        }
        if let (JobStatus::Done { result, .. }, Some(stored)) = (&mut self.status, parts.result) {
            *result = stored;
        }
        self.history.extend(parts.attempts);
        self.history.sort_by_key(|attempt| attempt.number);
        self.history.dedup_by_key(|attempt| attempt.number);
        let surplus = self.history.len().saturating_sub(limits::HISTORY);
        self.history.drain(..surplus);
    }
}

/// The state of a job without its particulars, to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    /// Delayed or backing off.
    Waiting,
    /// Can be granted.
    Ready,
    /// A worker has it.
    Leased,
    /// Has its result.
    Done,
    /// Ended by its owner.
    Cancelled,
    /// A dead letter.
    Dead,
}

/// Which jobs a list shows. Everything that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only of this tenant.
    pub tenant: Option<TenantName>,
    /// Only in this state.
    pub state: Option<StateName>,
    /// Only dead letters of this class.
    pub class: Option<FailureClass>,
    /// Only after this job, in the order of ids: the cursor of the last page.
    pub after: Option<JobId>,
    /// At most so many, and never more than `limits::PAGE_JOBS`; 0 for as many as may be.
    pub limit: usize,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobPage {
    /// In the order of ids, without payloads, results and histories.
    pub jobs: Vec<JobView>,
    /// Where the next page goes on; none when this was the last.
    pub next: Option<JobId>,
}

/// Counts for people and metrics, kept as jobs move: reading them costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardStats {
    /// The leadership.
    pub epoch: ShardEpoch,
    /// The shard clock.
    pub stamp: Timestamp,
    /// By queue, in the order of names.
    pub queues: Vec<(QueueName, QueueStats)>,
    /// Ids and idempotency keys remembered.
    pub keys: usize,
}

/// Counts of one queue in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Delayed or backing off.
    pub waiting: u64,
    /// Can be granted.
    pub ready: u64,
    /// With a worker.
    pub leased: u64,
    /// Kept with their results.
    pub done: u64,
    /// Cancelled and kept.
    pub cancelled: u64,
    /// Dead letters.
    pub dead: u64,
}
