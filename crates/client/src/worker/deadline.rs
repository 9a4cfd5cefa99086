//! Until when a lease may be believed in.
//!
//! The holder counts from when it *sent* the message that the leader's grant or answer names, and takes off a margin:
//! the leader counts from when that message *arrived*, which is later, so the holder always stops first. No clock is
//! compared with another one; only their rates have to agree to within the margin.

use std::time::Duration;

use leasehold_types::limits;
use tokio::time::Instant;

/// The instant at which the worker must have stopped.
pub(super) fn local_deadline(sent: Instant, lease: Duration) -> Instant {
    let share = lease * limits::MARGIN_PER_MILLE / 1000;
    sent + lease.saturating_sub(limits::MARGIN + share)
}

/// How often a lease of this length is renewed.
pub(super) fn renewal_interval(lease: Duration) -> Duration {
    lease / limits::RENEWALS_PER_LEASE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[tokio::test]
    async fn worker_stops_by_the_margin_before_its_lease_can_have_run_out() {
        let sent = now();
        let until = local_deadline(sent, Duration::from_secs(30));
        assert_eq!(until - sent, Duration::from_millis(30_000 - 250 - 300));
    }

    #[tokio::test]
    async fn lease_shorter_than_its_margin_is_never_believed_in() {
        let sent = now();
        assert_eq!(local_deadline(sent, Duration::from_millis(100)), sent);
        assert_eq!(local_deadline(sent, Duration::ZERO), sent);
    }
}
