//! What must hold for this leader to grant and to answer renewals, gathered anew for each batch.

use std::time::Duration;

use leasehold_consensus::GroupStatus;
use leasehold_core::shard::dispatcher::Gate;
use leasehold_types::Timestamp;

use crate::disk::DiskHealth;

/// A leader stops this long before its lease is over: its answers have to travel.
const MARGIN: Duration = Duration::from_millis(200);

/// A wake-up later than this was no busy moment: the process or the machine stood still.
const SLIP: Duration = Duration::from_secs(1);

/// The gate as things stand.
pub(super) fn gate(
    status: &GroupStatus,
    lease: Duration,
    disk: DiskHealth,
    transferring: bool,
    slept: bool,
) -> Gate {
    let fresh = status.leads_within(lease.saturating_sub(MARGIN));
    Gate {
        quorum_fresh: fresh && !slept,
        transferring,
        disk_keeps_up: disk.keeps_up(),
    }
}

/// Notices that this process stood still.
///
/// SUBTLE: the age of the last quorum is counted by a clock that stops while the machine is suspended, so after a
/// sleep it looks fresh although others may lead by now. The seam's clock goes on; a wake-up that comes much later by
/// it than was asked for means that leadership has to be proved again before anything is granted or renewed.
#[derive(Debug)]
pub(super) struct SlipWatch {
    planned: Timestamp,
}

impl SlipWatch {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { planned: now }
    }

    /// The task means to run again within `span`.
    pub(super) fn sleeps(&mut self, now: Timestamp, span: Duration) {
        self.planned = now + span;
    }

    /// The task runs again: whether that is much too late.
    pub(super) fn slipped(&self, now: Timestamp) -> bool {
        now.since(self.planned) > SLIP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_wake_up_counts_as_a_slip_and_an_early_one_does_not() {
        let start = Timestamp::from_micros(0);
        let mut watch = SlipWatch::new(start);
        watch.sleeps(start, Duration::from_secs(5));
        assert!(!watch.slipped(start + Duration::from_secs(1)));
        assert!(!watch.slipped(start + Duration::from_secs(6)));
        assert!(watch.slipped(start + Duration::from_secs(7)));
    }

    #[test]
    fn follower_s_gate_is_closed() {
        let lease = Duration::from_secs(3);
        let closed = gate(
            &GroupStatus::default(),
            lease,
            DiskHealth::KeepsUp,
            false,
            false,
        );
        assert!(!closed.is_open());
    }
}
