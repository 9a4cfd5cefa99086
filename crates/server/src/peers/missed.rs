//! Why a peer could not be connected, and when it is dialled again.
//!
//! A peer that refuses this node for what it is, or is refused, is dialled slowly: somebody has to do something about it
//! first, and a node that was started again makes itself known.

use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_types::ErrorCode;
use tonic::Status;

use super::hello::HelloRefusal;
use super::links::Context;

/// Ceiling of the first wait before a peer is dialled again.
const REDIAL_BASE: Duration = Duration::from_millis(50);

/// Ceiling of the wait before a peer is dialled again that will not have this node, or that this node will not have.
const REFUSED: Duration = Duration::from_secs(30);

/// Why there is no connection, and how soon the next try may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoLink {
    why: String,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Soon,
    Slowly,
}

impl NoLink {
    pub(super) fn soon(why: String) -> Self {
        let pace = Pace::Soon;
        Self { why, pace }
    }

    fn of(code: ErrorCode, why: String) -> Self {
        let pace = match code {
            ErrorCode::FailedPrecondition | ErrorCode::Unsupported => Pace::Slowly,
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::StaleFence
            | ErrorCode::Conflict
            | ErrorCode::NotLeader
            | ErrorCode::Unavailable
            | ErrorCode::ResourceExhausted
            | ErrorCode::Unknown
            | ErrorCode::PermissionDenied
            | ErrorCode::Internal => Pace::Soon,
        };
        Self { why, pace }
    }

    pub(super) fn at(self, address: &str) -> Self {
        let why = format!("at {address}: {}", self.why);
        Self { why, ..self }
    }

    pub(super) fn into_why(self) -> String {
        self.why
    }

    /// How long to wait before the peer is dialled again, after so many tries.
    pub(super) fn wait(&self, tried: u32, context: &Context) -> Duration {
        let random = context.entropy.next();
        let soon = BackoffPolicy {
            base: REDIAL_BASE,
            cap: context.patience.silence / 3,
        };
        let slowly = BackoffPolicy {
            base: REFUSED / 2,
            cap: REFUSED / 2,
        };
        match self.pace {
            Pace::Soon => backoff(&soon, tried, random),
            Pace::Slowly => REFUSED / 2 + backoff(&slowly, tried, random),
        }
    }
}

impl From<String> for NoLink {
    fn from(why: String) -> Self {
        Self::soon(why)
    }
}

impl From<HelloRefusal> for NoLink {
    fn from(refusal: HelloRefusal) -> Self {
        Self::of(refusal.code(), refusal.to_string())
    }
}

impl From<Status> for NoLink {
    fn from(status: Status) -> Self {
        let why = status.message().to_owned();
        Self::of(ApiError::from(status).code, why)
    }
}
