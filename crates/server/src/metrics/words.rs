//! The values that labels may take.

use leasehold_core::shard::command::{ExpireReason, FailureClass};

/// What became of a submitted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// Taken in.
    Accepted,
    /// An earlier submit had brought it.
    Repeated,
    /// Refused; nothing was done.
    Refused,
    /// Leadership was lost before the outcome was known.
    Unknown,
}

impl SubmitOutcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A write by a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// A renewal of a lease.
    Renew,
    /// A result.
    Complete,
    /// A failure.
    Fail,
    /// A job handed back.
    Release,
}

impl WriteKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Release => "release",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// With the job's result.
    Completed,
    /// The worker reported a failure.
    Failed,
    /// The lease ran out.
    Expired,
    /// Handed back.
    Released,
    /// The job was cancelled meanwhile.
    Cancelled,
}

impl AttemptOutcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job's terminal state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// Has its result.
    Done,
    /// Ended by its owner.
    Cancelled,
    /// A dead letter of this class.
    Dead(FailureClass),
}

impl JobEnd {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Dead(_) => "dead",
        }
    }
}

/// The first digit of an HTTP status, spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpStatus {
    /// 1xx to 3xx.
    Fine,
    /// 4xx.
    CallerError,
    /// 5xx.
    ServerError,
}

impl HttpStatus {
    /// The class of this status number.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            500.. => Self::ServerError,
            400..500 => Self::CallerError,
            0..400 => Self::Fine,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "2xx",
            Self::CallerError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

pub(super) const fn expiry(reason: ExpireReason) -> &'static str {
    match reason {
        ExpireReason::Silent => "silent",
        ExpireReason::Stalled => "stalled",
        ExpireReason::AttemptLimit => "attempt_limit",
        ExpireReason::Verdict => "verdict",
        ExpireReason::Deadline => "deadline",
    }
}

pub(super) const fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::Permanent => "permanent",
        FailureClass::Policy => "policy",
        FailureClass::ContextOverflow => "context_overflow",
        FailureClass::Poison => "poison",
        FailureClass::Budget => "budget",
        FailureClass::Semantic => "semantic",
        FailureClass::Lost => "lost",
        FailureClass::Infrastructure => "infrastructure",
    }
}
