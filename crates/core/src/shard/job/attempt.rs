//! The attempts at a job: how many there were, each of them once it is over, and what rules go by.

use std::sync::Arc;

use bytes::Bytes;
use leasehold_types::{FenceToken, RegionName, Timestamp, WorkerName};

use crate::shard::command::{ExpireReason, FailureClass};

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

impl AttemptEnd {
    /// What kind of failure it was; none where nothing failed.
    #[must_use]
    pub const fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Failed { class, .. } => Some(*class),
            Self::Expired(reason) => reason.class(),
            Self::Completed | Self::Released { .. } | Self::Cancelled => None,
        }
    }
}

/// What rules go by of the attempts since the last redrive. It stands with the header on every replica, while the
/// attempts themselves may be in the checkpoint alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// Whose attempt the newest was.
    pub worker: WorkerName,
    /// The class of the newest failure; none when nothing failed yet.
    pub class: Option<FailureClass>,
    /// The newest attempt, while it is one that reached no worker. It stands for all such attempts in a row, so the next
    /// one takes its place, and only then is it history when another follows.
    pub astray: Option<Box<AttemptRecord>>,
}

impl Recent {
    /// What rules go by after these attempts, given oldest first; none after none.
    #[must_use]
    pub fn after(attempts: &[AttemptRecord]) -> Option<Self> {
        let worker = attempts.last()?.worker.clone();
        let class = attempts.iter().rev().find_map(|a| a.end.class());
        Some(Self {
            worker,
            class,
            astray: None,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.astray.as_ref().map_or(0, |attempt| attempt.bytes())
    }
}
