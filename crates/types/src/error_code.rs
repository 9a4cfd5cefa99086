//! What kind of trouble an error is, and what the caller may conclude from it.

use std::fmt;

/// The kind of an error that crosses the wire. Every code answers two questions: is it worth repeating the
/// request, and is it certain that nothing was done.
///
/// ```
/// use leasehold_types::ErrorCode;
///
/// assert!(ErrorCode::Unknown.is_retryable() && !ErrorCode::Unknown.has_no_side_effects());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// Malformed, or over a limit: the request itself must change.
    InvalidArgument,
    /// No such job, queue, node, region or shard.
    NotFound,
    /// The id or key was used before with another payload.
    AlreadyExists,
    /// The fence token is old: a newer lease was granted, the lease ended, or the job is terminal.
    StaleFence,
    /// What was asked does not fit the state of the thing: the message says which.
    FailedPrecondition,
    /// Somebody else changed the record first: read it again and decide again.
    Conflict,
    /// This node does not lead the shard. The error may carry a hint to the one that does.
    NotLeader,
    /// No leader with a quorum can be reached now, or the node is draining. Nothing was done.
    Unavailable,
    /// A bound was reached for now. The error carries the time to come back after.
    ResourceExhausted,
    /// The request may have been done or not: repeat it with the same id, or ask.
    Unknown,
    /// The caller may not do this.
    PermissionDenied,
    /// The other side speaks a protocol or a disk format that this version does not know.
    Unsupported,
    /// A broken invariant: a bug.
    Internal,
}

impl ErrorCode {
    /// Every code, for exhaustive tests and tables.
    pub const ALL: [Self; 13] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::StaleFence,
        Self::FailedPrecondition,
        Self::Conflict,
        Self::NotLeader,
        Self::Unavailable,
        Self::ResourceExhausted,
        Self::Unknown,
        Self::PermissionDenied,
        Self::Unsupported,
        Self::Internal,
    ];

    /// Whether the same request, with the same id, may succeed later or elsewhere.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::NotLeader | Self::Unavailable | Self::ResourceExhausted | Self::Unknown
        )
    }

    /// Whether it is certain that the request changed nothing.
    #[must_use]
    pub const fn has_no_side_effects(self) -> bool {
        !matches!(self, Self::Unknown | Self::Internal)
    }

    /// Whether a worker's write that was refused so says that its lease is over for certain: it came too late, or there is
    /// no such job.
    #[must_use]
    pub const fn ends_a_lease(self) -> bool {
        matches!(self, Self::StaleFence | Self::NotFound)
    }

    /// The code's stable name, as it stands on the wire and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::StaleFence => "stale_fence",
            Self::FailedPrecondition => "failed_precondition",
            Self::Conflict => "conflict",
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unknown => "unknown",
            Self::PermissionDenied => "permission_denied",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }

    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_outcome_is_never_called_certainly_not_done() {
        assert!(!ErrorCode::Unknown.has_no_side_effects());
        assert!(ErrorCode::Unknown.is_retryable());
    }

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
        }
    }
}
