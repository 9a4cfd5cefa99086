//! What those who ask put before a leader's task, and what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_core::shard::Command;
use leasehold_core::shard::dispatcher::{LiveLease, Offer, Renewal, RenewalAnswer};
use leasehold_core::shard::view::ShardStats;
use leasehold_types::{FenceToken, JobId, NodeId, RegionName, SessionId, ShardEpoch, Timestamp};
use tokio::sync::oneshot;

use super::batcher::Written;

/// Events that may wait for a leader's task; whoever brings more waits.
pub(super) const MAILBOX: usize = 4_096;

/// Something that a leader has to deal with.
pub(super) enum Event {
    /// Commands to be written and answered.
    Write {
        commands: Vec<Command>,
        reply: oneshot::Sender<Written>,
    },
    /// Free slots lent to this leader.
    Offer {
        offer: Box<Offer>,
        reply: oneshot::Sender<OfferTaken>,
    },
    /// Leases to be renewed.
    Renew {
        session: SessionId,
        renewals: Vec<Renewal>,
        message: u64,
        reply: oneshot::Sender<Vec<RenewalAnswer>>,
    },
    /// A worker's session is over, says this gateway; its slots are gone, its leases are not.
    SessionEnded { session: SessionId, gateway: NodeId },
    /// Grants that did not reach their worker, or may not have.
    Undelivered(Vec<Undelivered>),
    /// A delivery arrived at a gateway that an earlier one had missed.
    Reached(NodeId),
    /// How far a leased job's worker has got, as last heard.
    Live {
        job: JobId,
        reply: oneshot::Sender<Option<LiveLease>>,
    },
    /// How the leadership stands, for people and metrics.
    Look { reply: oneshot::Sender<LeaderView> },
}

/// A grant that did not reach its worker, or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) job: JobId,
    pub(super) fence: FenceToken,
    pub(super) session: SessionId,
    pub(super) gateway: NodeId,
    /// On the shard's clock.
    pub(super) sent_at: Timestamp,
    pub(super) fate: Fate,
}

/// What is known of a grant on its way to its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The gateway was not reached: certainly not delivered.
    NotSent,
    /// The gateway was reached and does not have the session: certainly not delivered.
    SessionGone,
    /// It may have been delivered: the lease decides.
    Doubtful,
}

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfferTaken {
    pub(super) epoch: ShardEpoch,
    /// Whether the slots count as lent.
    pub(super) is_taken: bool,
    /// Assignments made to the session in this epoch so far.
    pub(super) granted: u64,
    /// Jobs ready in the session's queues.
    pub(super) backlog: u64,
}

/// A leadership at a glance.
#[derive(Debug, Clone)]
pub(super) struct LeaderView {
    pub(super) stats: ShardStats,
    pub(super) sessions: usize,
    pub(super) free_slots: u64,
    pub(super) stale_writes_refused: u64,
    /// By region of the worker.
    pub(super) leases_by_region: BTreeMap<RegionName, u64>,
}

/// How long a submit waits for its leader to have seen the metadata that its gateway had seen.
pub(super) const METADATA_PATIENCE: Duration = Duration::from_secs(1);
