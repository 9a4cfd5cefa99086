//! The error that every request may end with.

use std::time::Duration;

use leasehold_core::metadata::MetadataRefusal;
use leasehold_core::policy::PolicyError;
use leasehold_core::requirement::RequirementError;
use leasehold_core::shard::Refusal;
use leasehold_types::{ErrorCode, NameError, ParseDigestError, ParseFenceTokenError, ParseIdError};

use crate::convert::ConvertError;
use crate::v1;

/// Why a request, or one item of it, was not done, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of trouble it is: whether to repeat, and whether anything was done.
    pub code: ErrorCode,
    /// For people: lowercase, names the thing and the way out.
    pub message: String,
    /// When to come back, where that is known.
    pub retry_after: Option<Duration>,
    /// Who leads the shard, where the answering node knows.
    pub leader: Option<v1::LeaderHint>,
}

impl ApiError {
    /// An error without a time to come back and without a hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            leader: None,
        }
    }

    /// The request itself must change.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// Nobody can do it now, and nothing was done.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// It may have been done or not.
    #[must_use]
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unknown, message)
    }

    /// A broken invariant.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// This node does not lead the shard; `leader` does, where that is known.
    #[must_use]
    pub fn not_leader(message: impl Into<String>, leader: Option<v1::LeaderHint>) -> Self {
        Self {
            leader,
            ..Self::new(ErrorCode::NotLeader, message)
        }
    }

    /// The same error with a time to come back after.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }

    /// The same error with a hint to the leader.
    #[must_use]
    pub fn with_leader(self, leader: v1::LeaderHint) -> Self {
        Self {
            leader: Some(leader),
            ..self
        }
    }
}

impl From<&Refusal> for ApiError {
    fn from(refusal: &Refusal) -> Self {
        Self {
            retry_after: refusal.retry_after(),
            ..Self::new(refusal.code(), refusal.to_string())
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

impl From<&MetadataRefusal> for ApiError {
    fn from(refusal: &MetadataRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl From<MetadataRefusal> for ApiError {
    fn from(refusal: MetadataRefusal) -> Self {
        Self::from(&refusal)
    }
}

/// What is wrong with the request's own form or size is the caller's to fix.
macro_rules! invalid_from {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::invalid(error.to_string())
            }
        })+
    };
}

invalid_from!(
    ConvertError,
    NameError,
    ParseDigestError,
    ParseFenceTokenError,
    ParseIdError,
    PolicyError,
    RequirementError,
);
