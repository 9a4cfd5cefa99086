//! What came of each command. A refusal is an outcome like any other, never a panic.

use std::time::Duration;

use leasehold_types::{ErrorCode, FenceToken, JobId, QueueName, SessionId, ShardEpoch, Timestamp};

use super::command::FailureClass;

/// What one batch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The shard clock after the batch.
    pub stamp: Timestamp,
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// What a leader has to know beyond the answers.
    pub changes: Vec<Change>,
}

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The leadership is the shard's current one.
    Led(ShardEpoch),
    /// The job is taken in, now or by an earlier submit of the same id or key.
    Submitted(Submitted),
    /// The job is leased.
    Granted(Granted),
    /// The contact is noted.
    Contacted,
    /// The result is the job's one result; `repeated` when it already was.
    Completed {
        /// Whether this very result was accepted before.
        repeated: bool,
    },
    /// The attempt is over; the job goes on as said.
    AttemptEnded(Next),
    /// The job is cancelled; `repeated` when it already was.
    Cancelled {
        /// Whether it was cancelled before.
        repeated: bool,
    },
    /// The dead letter is ready again.
    Redriven,
    /// The dead letter is gone.
    Discarded,
    /// So many ended jobs and keys were removed, and whether more are due.
    Purged {
        /// Jobs removed.
        jobs: u32,
        /// Ids and keys forgotten.
        keys: u32,
        /// Whether the limit stopped it.
        more: bool,
    },
    /// The policy stands; also when a newer one stood already.
    PolicyPut,
    /// Nothing was changed.
    Refused(Refusal),
}

/// A job that is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The job that stands for this submit; another than asked for when a key found an older one.
    pub job: JobId,
    /// Whether an earlier submit made it.
    pub repeated: bool,
}

/// A lease just granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The job.
    pub job: JobId,
    /// The lease's fence token.
    pub fence: FenceToken,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Length of the lease.
    pub lease: Duration,
}

/// How a job goes on after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ready at once.
    Ready,
    /// Ready after a wait.
    Waiting {
        /// Stamp at which it falls due.
        due: Timestamp,
    },
    /// A dead letter.
    Dead(FailureClass),
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Proposed under an epoch that is not the current one.
    #[error("epoch {given} is over: the shard is in {current}")]
    Epoch {
        /// The epoch proposed under.
        given: ShardEpoch,
        /// The current one.
        current: ShardEpoch,
    },
    /// No such job, or it was purged.
    #[error("job {0} is not known: it was never submitted, or its retention has ended")]
    UnknownJob(JobId),
    /// The shard has no policy of that queue.
    #[error("queue {0} does not exist: create it with `leasehold queue create {0}`")]
    UnknownQueue(QueueName),
    /// The id or key stands for another payload.
    #[error("job {0} was submitted before with another payload under this id or key")]
    OtherPayload(JobId),
    /// The id stands for a job that was submitted under another key, or under none.
    #[error(
        "job {0} was submitted before under another idempotency key: repeat its own, or mint a new id"
    )]
    OtherKey(JobId),
    /// The job ended and was purged; its id or key is still remembered.
    #[error("job {0} has ended, and what came of it is no longer kept")]
    NoLongerKept(JobId),
    /// The write's fence is not the job's current lease.
    #[error("fence {given} is stale for job {job}: {why}")]
    StaleFence {
        /// The job.
        job: JobId,
        /// The fence written under.
        given: FenceToken,
        /// What made it stale.
        why: Stale,
    },
    /// The job is not in a state that allows this.
    #[error("job {job} is {state}: {wanted}")]
    WrongState {
        /// The job.
        job: JobId,
        /// Its state, in a word.
        state: &'static str,
        /// What the command needs.
        wanted: &'static str,
    },
    /// The worker handed the job back too often.
    #[error("job {job} was released {times} times, which is the limit: fail it instead")]
    TooManyReleases {
        /// The job.
        job: JobId,
        /// How often it was released.
        times: u32,
    },
    /// The dead letter was put back too often.
    #[error(
        "job {job} was redriven {times} times, which is the limit: submit its work as a new job"
    )]
    TooManyRedrives {
        /// The job.
        job: JobId,
        /// How often it was redriven.
        times: u32,
    },
    /// A bound of the shard is reached.
    #[error("the shard holds {what}, its limit of {limit}: try again in {retry_after:?}")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// The command itself is out of bounds.
    #[error("{0}")]
    Invalid(String),
}

/// What made a fence stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Stale {
    /// A newer lease was granted.
    #[error("the job was leased again under {0}")]
    Superseded(FenceToken),
    /// The lease ended in the log.
    #[error("the lease has ended")]
    Ended,
    /// The leader is ending the lease.
    #[error("the lease is running out")]
    Expiring,
    /// The job has its result.
    #[error("the job is done under another result or fence")]
    Done,
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The job is a dead letter.
    #[error("the job is a dead letter")]
    Dead,
    /// No such job.
    #[error("the job is not known")]
    Unknown,
}

impl Refusal {
    /// The kind of error that this is to a caller.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Epoch { .. } => ErrorCode::NotLeader,
            Self::UnknownJob(_) | Self::UnknownQueue(_) => ErrorCode::NotFound,
            Self::OtherPayload(_) | Self::OtherKey(_) => ErrorCode::AlreadyExists,
            Self::StaleFence { .. } => ErrorCode::StaleFence,
            Self::NoLongerKept(_)
            | Self::WrongState { .. }
            | Self::TooManyReleases { .. }
            | Self::TooManyRedrives { .. } => ErrorCode::FailedPrecondition,
            Self::Full { .. } => ErrorCode::ResourceExhausted,
            Self::Invalid(_) => ErrorCode::InvalidArgument,
        }
    }

    /// When to come back, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. } => Some(*retry_after),
            Self::Epoch { .. }
            | Self::UnknownJob(_)
            | Self::UnknownQueue(_)
            | Self::OtherPayload(_)
            | Self::OtherKey(_)
            | Self::NoLongerKept(_)
            | Self::StaleFence { .. }
            | Self::WrongState { .. }
            | Self::TooManyReleases { .. }
            | Self::TooManyRedrives { .. }
            | Self::Invalid(_) => None,
        }
    }
}

/// What a leader has to know beyond the answers: timers to set, workers to free, waiters to wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A lease began.
    Leased {
        /// The job.
        job: JobId,
        /// Its fence.
        fence: FenceToken,
    },
    /// A lease ended, whichever way.
    LeaseEnded {
        /// The job.
        job: JobId,
        /// The fence that is now old.
        fence: FenceToken,
        /// Whose slot is free.
        session: SessionId,
    },
    /// The job reached a terminal state.
    Finished(JobId),
    /// The job can be granted.
    Ready(JobId),
}
