//! What a call may end with.

use leasehold_api::{ApiError, ConvertError};
use leasehold_core::shard::command::FailureClass;
use leasehold_core::shard::view::StateName;
use leasehold_types::{ErrorCode, JobId};

use crate::address::AddressError;

/// Why a call did not give what was asked. Tells apart what was certainly not done from what is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The client was set up wrongly. Nothing was sent.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Refused for good: nothing was done, and the same request will be refused again.
    #[error(transparent)]
    Refused(ApiError),
    /// Nobody could do it in time. Certainly not done: safe to give up, and safe to try again.
    #[error("not done after {attempts} attempts: {last}")]
    Unavailable {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt ended with.
        last: ApiError,
    },
    /// It may have been done or not.
    #[error("{}", unknown(job_id.as_ref(), last))]
    Unknown {
        /// The job, where the request was about one that has its id.
        job_id: Option<JobId>,
        /// What the last attempt ended with.
        last: ApiError,
    },
    /// The wait is over and the job is not.
    #[error("job {job_id} has not ended yet: it is {}", word(*state))]
    NotEnded {
        /// The job.
        job_id: JobId,
        /// Where it was last seen.
        state: StateName,
    },
    /// The job ended without a result.
    #[error("job {job_id} {}: {reason}", ending(*class))]
    NoResult {
        /// The job.
        job_id: JobId,
        /// What kind of failure ended it; none when it was cancelled.
        class: Option<FailureClass>,
        /// One line for people.
        reason: String,
    },
    /// The answer cannot be read: the cluster may be newer than this client.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] ConvertError),
}

/// What is wrong with how a client or worker was set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No endpoint was given.
    #[error("no endpoint: give at least one host:port")]
    NoEndpoint,
    /// An endpoint is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Something given breaks a bound or a form.
    #[error(transparent)]
    Invalid(#[from] ConvertError),
}

impl ClientError {
    /// The kind of error that this is.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Setup(_) => ErrorCode::InvalidArgument,
            Self::Refused(error) | Self::Unavailable { last: error, .. } => error.code,
            Self::Unknown { .. } => ErrorCode::Unknown,
            Self::NotEnded { .. } => ErrorCode::Unavailable,
            Self::NoResult { .. } => ErrorCode::FailedPrecondition,
            Self::Unreadable(_) => ErrorCode::Unsupported,
        }
    }

    /// Whether it is certain that nothing was done.
    #[must_use]
    pub const fn is_certainly_not_done(&self) -> bool {
        match self {
            Self::Setup(_) | Self::Refused(_) | Self::Unavailable { .. } => true,
            Self::Unknown { .. }
            | Self::NotEnded { .. }
            | Self::NoResult { .. }
            | Self::Unreadable(_) => false,
        }
    }
}

fn unknown(job_id: Option<&JobId>, last: &ApiError) -> String {
    match job_id {
        Some(job) => format!(
            "whether it was done for job {job} is not known: get the job, or repeat with the same id: {last}"
        ),
        None => format!("whether it was done is not known: look, or repeat the request: {last}"),
    }
}

/// The state in a word.
pub(crate) const fn word(state: StateName) -> &'static str {
    match state {
        StateName::Waiting => "waiting",
        StateName::Ready => "ready",
        StateName::Leased => "leased",
        StateName::Done => "done",
        StateName::Cancelled => "cancelled",
        StateName::Dead => "dead",
    }
}

const fn ending(class: Option<FailureClass>) -> &'static str {
    match class {
        Some(_) => "is a dead letter",
        None => "was cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::VirtualShard;

    #[test]
    fn unknown_outcome_names_the_job_and_the_way_out() {
        let job = JobId::new(VirtualShard::new(1), [2; 12]);
        let error = ClientError::Unknown {
            job_id: Some(job),
            last: ApiError::unknown("no answer from eu:1 within 5s"),
        };
        assert!(!error.is_certainly_not_done());
        let text = error.to_string();
        assert!(
            text.contains(&job.to_string()) && text.contains("same id"),
            "{text}"
        );
    }
}
