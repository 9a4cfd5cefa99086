//! A promise that was broken, in words that say which job and how.

use leasehold_client::StateName;
use leasehold_types::{FenceToken, JobId};

use crate::history::{Accepted, Number};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("lost: submit {number}, job {id}, was acknowledged and is not there")]
    LostJob { number: Number, id: JobId },
    #[error("lost: the result of submit {number}, job {id}, was accepted under {} and the job is not there", accepted.fence)]
    LostResult {
        number: Number,
        id: JobId,
        accepted: Accepted,
    },
    #[error("lost: the result of submit {number}, job {id}, was accepted under {} and the job is {state:?} again", accepted.fence)]
    ResultGone {
        number: Number,
        id: JobId,
        accepted: Accepted,
        state: StateName,
    },
    #[error("lost: submit {number}, job {id}, cannot be read: {error}")]
    Unreadable {
        number: Number,
        id: JobId,
        error: String,
    },
    #[error("lost: the {part} of submit {number}, job {id}, is not what was sent")]
    OtherBytes {
        number: Number,
        id: JobId,
        part: &'static str,
    },
    #[error("lost: submit {number}, job {id}, was acknowledged, and its repeat made the job anew")]
    MadeAnew { number: Number, id: JobId },
    #[error("doubled: submit {number}, job {id:?}, was granted under {granted} after its result was accepted under {}", accepted.fence)]
    GrantedAfterResult {
        number: Number,
        id: Option<JobId>,
        accepted: Accepted,
        granted: FenceToken,
    },
    #[error("doubled: two results of submit {number}, job {id:?}, were accepted: {results:?}")]
    TwoResults {
        number: Number,
        id: Option<JobId>,
        results: [Accepted; 2],
    },
    #[error("doubled: the result of submit {number}, job {id}, was {accepted:?} and is {found:?}")]
    ResultChanged {
        number: Number,
        id: JobId,
        accepted: Accepted,
        found: Accepted,
    },
    #[error("doubled: submit {number} has two jobs, {} and {}", ids[0], ids[1])]
    TwoIds { number: Number, ids: [JobId; 2] },
    #[error("submit {number}, job {id}, was certainly not taken in, and is there")]
    RefusedYetThere { number: Number, id: JobId },
    #[error(
        "submit {number}, job {id}, ended as {state:?} though its workers never asked for that"
    )]
    GivenUp {
        number: Number,
        id: JobId,
        state: StateName,
    },
    #[error("the result of submit {number}, job {id}, under {fence}, was never sent by a worker")]
    ForeignResult {
        number: Number,
        id: JobId,
        fence: FenceToken,
    },
    #[error("job {id} was never submitted")]
    Foreign { id: JobId },
    #[error("repeat of submit {number} was refused: {error}")]
    RepeatRefused { number: Number, error: String },
    #[error("{what} within {seconds} s")]
    Stuck { what: String, seconds: u64 },
    #[error("node {node} ended by itself: {log}")]
    NodeEnded { node: String, log: String },
}

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Something acknowledged is gone.
    Lost,
    /// Something was done twice.
    Doubled,
    Other,
}

impl Violation {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::LostJob { .. }
            | Self::LostResult { .. }
            | Self::ResultGone { .. }
            | Self::Unreadable { .. }
            | Self::OtherBytes { .. }
            | Self::MadeAnew { .. } => Kind::Lost,
            Self::TwoResults { .. }
            | Self::ResultChanged { .. }
            | Self::TwoIds { .. }
            | Self::GrantedAfterResult { .. } => Kind::Doubled,
            Self::RefusedYetThere { .. }
            | Self::GivenUp { .. }
            | Self::ForeignResult { .. }
            | Self::Foreign { .. }
            | Self::RepeatRefused { .. }
            | Self::Stuck { .. }
            | Self::NodeEnded { .. } => Kind::Other,
        }
    }
}
