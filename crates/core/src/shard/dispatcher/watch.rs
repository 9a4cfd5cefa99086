//! One lease as its leader sees it: when its worker was heard, how far it got, and so when the lease ends.

use std::time::Duration;

use leasehold_types::{FenceToken, JobId, RegionName, Timestamp, limits};

use super::message::Renewal;
use crate::policy::QueuePolicy;
use crate::shard::command::{Contact, ExpireReason, WorkPhase};
use crate::shard::job::Lease;

/// How a lease is to end that the leader has given up on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It ran out.
    Expire(ExpireReason),
    /// Its grant did not reach its worker, as far as anybody knows.
    Return,
}

/// Whether the newest sign of life should be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noting {
    /// It need not.
    Nothing,
    /// It should.
    Wanted,
    /// It is on its way.
    Proposed,
}

/// What ends a lease early or late, as its queue's policy says now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    stall_limit: Option<Duration>,
    attempt_limit: Duration,
    pub(super) on_verdict: bool,
}

impl Terms {
    pub(super) const fn of(policy: &QueuePolicy) -> Self {
        Self {
            stall_limit: policy.stall_limit,
            attempt_limit: policy.attempt_limit,
            on_verdict: policy.requeue_on_verdict,
        }
    }
}

/// One lease as its leader sees it.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) fence: FenceToken,
    pub(super) region: RegionName,
    pub(super) length: Duration,
    pub(super) granted_at: Timestamp,
    /// When it runs out unless its worker is heard again.
    pub(super) deadline: Timestamp,
    pub(super) heard_at: Timestamp,
    /// Whether this leader heard its worker at all.
    pub(super) is_heard: bool,
    /// Whether the grant may have been lost on its way.
    pub(super) is_doubted: bool,
    pub(super) progress: u64,
    pub(super) progressed_at: Timestamp,
    pub(super) phase: WorkPhase,
    /// Stamp of the newest logged sign of life.
    pub(super) noted_at: Timestamp,
    pub(super) noting: Noting,
    pub(super) ending: Option<Ending>,
    /// When its timer fires; the truth may by then be later, never earlier.
    pub(super) timer: Timestamp,
    /// When it is next asked whether its worker is quiet, should the region be unreachable.
    pub(super) quiet: Timestamp,
}

impl Watch {
    pub(super) fn new(lease: &Lease, left: Duration, now: Timestamp) -> Self {
        Self {
            fence: lease.fence,
            region: lease.region.clone(),
            length: lease.length,
            granted_at: lease.granted_at,
            deadline: now + left,
            heard_at: now,
            is_heard: false,
            is_doubted: false,
            progress: lease.progress,
            progressed_at: lease.progressed_at,
            phase: lease.phase,
            noted_at: lease.contact,
            noting: Noting::Nothing,
            ending: None,
            timer: Timestamp::MAX,
            quiet: Timestamp::MAX,
        }
    }

    /// Silent for so long, it counts as not heard when its region is unreachable.
    pub(super) fn quiet_at(&self) -> Timestamp {
        self.heard_at + self.length / limits::RENEWALS_PER_LEASE * 2
    }

    /// When and why it ends if nothing more is heard.
    pub(super) fn end(&self, terms: Terms) -> (Timestamp, ExpireReason) {
        let silent = (self.deadline, ExpireReason::Silent);
        let too_long = self.granted_at + terms.attempt_limit;
        let attempt = (too_long, ExpireReason::AttemptLimit);
        let stalled = self.stalled_at(terms);
        let stalled = stalled.map(|at| (at, ExpireReason::Stalled));
        let ends = [Some(silent), Some(attempt), stalled];
        let ends = ends.into_iter().flatten();
        ends.min_by_key(|(at, _)| *at).unwrap_or(silent)
    }

    /// How it ends for this reason. A grant that may have been lost on its way, and whose worker was never heard, was
    /// most likely never delivered: that is a fault of ours, and not to be counted against the job.
    pub(super) fn ending(&self, reason: ExpireReason) -> Ending {
        match reason {
            ExpireReason::Silent if self.is_doubted && !self.is_heard => Ending::Return,
            ExpireReason::Silent
            | ExpireReason::Stalled
            | ExpireReason::AttemptLimit
            | ExpireReason::Verdict
            | ExpireReason::Deadline => Ending::Expire(reason),
        }
    }

    /// SUBTLE: a leader that has not heard the worker yet knows only the progress that was logged, which may be as old
    /// as the grant. Only the first renewal tells a stalled worker from one whose progress was never written down.
    fn stalled_at(&self, terms: Terms) -> Option<Timestamp> {
        let is_watched = self.is_heard && self.phase != WorkPhase::Queued;
        let limit = terms.stall_limit.filter(|_| is_watched)?;
        Some(self.progressed_at + limit)
    }

    /// Counters and phases only rise; a phase begun counts as progress, so that loading and running each get the
    /// whole stall limit.
    pub(super) fn hear(&mut self, renewal: &Renewal, now: Timestamp) {
        if renewal.progress > self.progress || renewal.phase > self.phase {
            self.progressed_at = now;
        }
        self.progress = self.progress.max(renewal.progress);
        self.phase = self.phase.max(renewal.phase);
        self.heard_at = now;
        self.is_heard = true;
        self.deadline = now + self.length;
    }

    /// Short leases are noted once after a takeover, so that the next one knows; long ones every half as well, since
    /// a whole long lease is too much to lose.
    pub(super) fn wants_noting(&self, was_heard: bool, is_inherited: bool, now: Timestamp) -> bool {
        let is_old = self.length > LONG_LEASE && now.since(self.noted_at) >= self.length / 2;
        is_old || (is_inherited && !was_heard)
    }
}

/// A lease longer than this is noted in the log every half of it.
const LONG_LEASE: Duration = Duration::from_secs(60);

impl Watch {
    pub(super) const fn contact(&self, job: JobId) -> Contact {
        Contact {
            job,
            fence: self.fence,
            progress: self.progress,
            progressed_at: self.progressed_at,
            phase: self.phase,
        }
    }
}
