//! What happens by itself as time passes.

use std::time::Duration;

use tokio::time::Instant;

use super::super::deadline::renewal_interval;
use super::super::lease::{Held, LeaseKey, Stage, Write};
use super::{Desk, SILENCE_MAX};

/// Renewals are never further apart than this without a lease to go by.
const UNLEASED: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);

impl Desk {
    /// Ends what has reached its time.
    pub(in super::super) fn pass(&mut self, now: Instant) {
        let ended = |held: &Held| held.ends_at().is_some_and(|at| now >= at);
        let ended = self.held.iter().filter(|(_, held)| ended(held));
        let ended: Vec<LeaseKey> = ended.map(|(key, _)| *key).collect();
        for key in ended {
            tracing::warn!(
                job_id = %key.job,
                fence_token = %key.fence,
                "lease may have run out without an answer: its work is dropped"
            );
            if let Some(held) = self.held.get(&key) {
                held.vitals.stop();
            }
            self.forget(&key);
        }
        self.end_grace(now);
    }

    /// Gives back what still runs when the grace period of a leaving worker is over.
    fn end_grace(&mut self, now: Instant) {
        if self.leaving.is_none_or(|leaving| now < leaving.grace_until) {
            return;
        }
        for (key, held) in &mut self.held {
            if matches!(held.stage, Stage::Running) {
                held.vitals.stop();
                let reason = "the worker stopped before the job was done";
                held.report(Write::released(key, reason), now);
            }
        }
    }

    /// Whether another gateway should be dialled: this one asked for it, or no leader was heard through it for half a
    /// lease, or it does not even answer an idle worker. The state of the connection says nothing about that.
    pub(in super::super) fn wants_another_line(&self, now: Instant) -> bool {
        let is_unwanted = self.line.as_ref().is_some_and(|line| line.is_unwanted);
        is_unwanted || self.deaf_at().is_some_and(|at| now >= at)
    }

    fn deaf_at(&self) -> Option<Instant> {
        let line = self.line.as_ref()?;
        let renewed = self.held.values().filter(|held| held.renews());
        let no_answer = renewed.map(|held| held.heard_at.max(line.opened_at) + held.lease / 2);
        Some(no_answer.min().unwrap_or(line.heard_at + SILENCE_MAX))
    }

    /// Whether no lease is renewed.
    pub(super) fn is_idle(&self) -> bool {
        !self.held.values().any(Held::renews)
    }

    /// When something is next due by itself.
    pub(in super::super) fn wakeup(&self) -> Option<Instant> {
        let ends = self.held.values().filter_map(Held::ends_at).min();
        let leaving = self.leaving.map(|leaving| leaving.ends_at);
        let times = [
            ends,
            leaving,
            self.grace_end(),
            self.deaf_at(),
            self.next_word(),
        ];
        times.into_iter().flatten().min()
    }

    fn grace_end(&self) -> Option<Instant> {
        let is_running = |held: &Held| matches!(held.stage, Stage::Running);
        let leaving = self
            .leaving
            .filter(|_| self.held.values().any(is_running))?;
        Some(leaving.grace_until)
    }

    fn next_word(&self) -> Option<Instant> {
        let line = self.line.as_ref()?;
        let due = self.held.values().filter_map(|held| match &held.stage {
            Stage::Reporting(report) => Some(report.due),
            Stage::Waiting { .. } | Stage::Running => None,
        });
        let renewal = match self.is_idle() {
            true => line.next_ping,
            false => line.next_renewal,
        };
        let credit = self.leaving.is_none().then_some(line.next_credit);
        due.chain([renewal]).chain(credit).min()
    }

    /// The shortest of the leases that are held decides for all of them.
    pub(super) fn renewal_interval(&self) -> Duration {
        let shortest = self.held.values().map(|held| held.lease).min();
        let shortest = shortest.or(self.last_lease);
        shortest.map_or(UNLEASED, |lease| renewal_interval(lease).max(SHORTEST))
    }

    /// Moves the next renewal forward for a lease that came in: at once if it cannot be believed in yet.
    pub(super) fn renew_soon(&mut self, lease: Duration, deadline: Instant, now: Instant) {
        let is_first = self.is_idle();
        let Some(line) = &mut self.line else {
            return;
        };
        let wait = renewal_interval(lease).min(deadline.saturating_duration_since(now) / 2);
        // Without a lease there is nothing to renew, and the time for it may have passed long ago.
        line.next_renewal = match is_first {
            true => now + wait,
            false => line.next_renewal.min(now + wait),
        };
    }
}
