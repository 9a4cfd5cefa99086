//! What workers tell a leader, through their gateways, and what they are told.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{FenceToken, JobId, NodeId, QueueName, RegionName, SessionId, WorkerName};

use crate::requirement::Supply;
use crate::shard::command::WorkPhase;
use crate::shard::outcome::Stale;
use crate::shard::state::Bundle;

/// A worker's free slots, lent to this leader. Absolute: it replaces what was offered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The worker's session.
    pub session: SessionId,
    /// The worker's name.
    pub worker: WorkerName,
    /// The worker's region.
    pub region: RegionName,
    /// The node that holds the worker's connection.
    pub gateway: NodeId,
    /// Queues it serves.
    pub queues: Vec<QueueName>,
    /// What it can run.
    pub supply: Supply,
    /// Slots free for grants that the worker has not seen yet.
    pub free: u32,
    /// Number of the worker's message that this comes from. An offer from an older one than the newest offer changes
    /// nothing; renewals do not count here, since they may overtake an offer.
    pub message: u64,
    /// Rises with every offer of the session through one gateway: of two from the same message it says which is newer.
    pub number: u64,
    /// Grants of this leadership that the worker had received when it counted its free slots. Grants made since
    /// are subtracted, so that credit is never spent twice.
    pub granted_seen: u64,
}

/// One renewal of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The job.
    pub job: JobId,
    /// The lease's fence.
    pub fence: FenceToken,
    /// Monotone: tokens, frames or bytes put out so far.
    pub progress: u64,
    /// What the worker is doing.
    pub phase: WorkPhase,
}

/// The answer to one renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalAnswer {
    /// Go on: the lease is this long again, counted from when the worker sent the renewal.
    Keep {
        /// The job.
        job: JobId,
        /// Its fence.
        fence: FenceToken,
        /// The lease's length.
        lease: Duration,
    },
    /// Stop: whatever comes of the work will be refused.
    Stop {
        /// The job.
        job: JobId,
        /// The fence that is stale.
        fence: FenceToken,
        /// Why.
        why: Stale,
    },
    /// The leader may not answer now (its gate is closed): ask again, and mind the local deadline.
    Later {
        /// The job.
        job: JobId,
    },
}

/// A payload that is to be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPayload {
    /// The job's place in the order of arrival.
    pub sequence: u64,
    /// The bundle that it is in.
    pub bundle: Bundle,
    /// Its length in bytes.
    pub bytes: u32,
}

/// A granted job on its way to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// The lease's fence.
    pub fence: FenceToken,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Whose slot it takes.
    pub session: SessionId,
    /// The node that holds the worker's connection.
    pub gateway: NodeId,
    /// What to work on; empty when it is to be read from the checkpoint.
    pub payload: Bytes,
    /// Where the payload is, when it is in the checkpoint alone.
    pub stored: Option<StoredPayload>,
    /// Length of the lease.
    pub lease: Duration,
    /// Longest the attempt may run.
    pub attempt_limit: Duration,
    /// Until the job's own deadline.
    pub remaining: Duration,
    /// Number of the worker's last message that the leader had seen: the worker counts its lease from when it sent it.
    pub message: u64,
    /// This grant's number among those of this leadership to this session, from 1.
    pub grant: u64,
}

/// What must hold for a leader to grant leases and answer renewals. Asked for each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// A quorum was heard within the leader lease.
    pub quorum_fresh: bool,
    /// Leadership is being handed over.
    pub transferring: bool,
    /// The last write to disk is not overdue.
    pub disk_keeps_up: bool,
}

impl Gate {
    /// Nothing stands in the way.
    pub const OPEN: Self = Self {
        quorum_fresh: true,
        transferring: false,
        disk_keeps_up: true,
    };

    /// Whether grants may be made and renewals answered.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.quorum_fresh && !self.transferring && self.disk_keeps_up
    }
}
