//! A leadership begins: the epoch rises, and every lease gets the time that its worker may still count on.

use std::time::Duration;

use leasehold_types::{Timestamp, limits};

use super::Applying;
use crate::shard::command::LeaderStart;
use crate::shard::job::{JobState, Lease};
use crate::shard::outcome::{Outcome, Refusal};
use crate::shard::state::Owner;

/// A lease gets at least this many renewal intervals at its second and third takeover in a row.
const INTERVALS_TO_BE_HEARD: u32 = 3;
/// Takeovers in a row after which a silent worker gets no more than what is left of its lease.
const TAKEOVERS_WITH_GRACE: u32 = 3;

impl Applying<'_> {
    pub(super) fn leader_start(&mut self, start: &LeaderStart) -> Result<Outcome, Refusal> {
        let head = &mut self.state.head;
        let (given, current) = (start.previous, head.epoch);
        if given != current {
            return Err(Refusal::Epoch { given, current });
        }
        head.epoch = current.next();
        head.granted = 0;
        head.owner = Some(Owner {
            node: start.node,
            boot: start.boot,
        });
        self.rearm_leases();
        Ok(Outcome::Led(current.next()))
    }

    fn rearm_leases(&mut self) {
        let now = self.state.head.stamp;
        let leased: Vec<_> = self.state.index.leased().iter().copied().collect();
        for id in leased {
            self.state.amend(id, |job| {
                if let JobState::Leased(lease) = &mut job.header.state {
                    rearm(lease, now);
                }
            });
        }
    }
}

/// SUBTLE: a worker may rightly run on for a whole lease after the old leader last answered it, and the old leader's
/// memory of that is gone. So the first takeover grants a whole lease again; but if every takeover did, a dead
/// worker's lease would live for as long as leaders keep changing, which is what happened to etcd's leases (its
/// issues 9395, 13491 and 17132). Later takeovers therefore count from `contact`, which only a logged sign of life
/// moves, with a little time for the worker to be heard; from the fourth on there is none.
fn rearm(lease: &mut Lease, now: Timestamp) {
    lease.rearms = lease.rearms.saturating_add(1);
    let unspent = lease.length.saturating_sub(now.since(lease.contact));
    lease.left = match lease.rearms {
        1 => lease.length,
        2..=TAKEOVERS_WITH_GRACE => unspent.max(grace(lease)),
        _ => unspent,
    };
    if lease.rearms == 1 {
        lease.contact = now;
    }
}

fn grace(lease: &Lease) -> Duration {
    lease.length / limits::RENEWALS_PER_LEASE * INTERVALS_TO_BE_HEARD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::fixture::{Fixture, SECOND};

    /// Left after each of five takeovers, `apart` from each other, of a lease of 30 s granted at the start.
    fn left_at_takeovers(apart: Duration) -> Vec<u64> {
        let mut shard = Fixture::new();
        let (job, _) = shard.leased_job(1);
        let takeover = |shard: &mut Fixture| {
            shard.pass(apart);
            shard.take_over();
            shard.state.lease(job).unwrap().left.as_secs()
        };
        (0..5).map(|_| takeover(&mut shard)).collect()
    }

    #[test]
    fn first_takeover_gives_a_whole_lease_and_later_ones_ever_less() {
        assert_eq!(left_at_takeovers(10 * SECOND), [30, 20, 15, 0, 0]);
        assert_eq!(left_at_takeovers(4 * SECOND), [30, 26, 22, 18, 14]);
        assert_eq!(left_at_takeovers(40 * SECOND), [30, 15, 15, 0, 0]);
    }

    #[test]
    fn logged_contact_makes_the_next_takeover_the_first_again() {
        let mut shard = Fixture::new();
        let (job, fence) = shard.leased_job(1);
        for _ in 0..3 {
            shard.pass(10 * SECOND);
            shard.take_over();
        }
        shard.contact(job, fence, 7);
        shard.pass(20 * SECOND);
        shard.take_over();
        let lease = shard.state.lease(job).unwrap();
        assert_eq!((lease.rearms, lease.left), (1, 30 * SECOND));
    }

    #[test]
    fn leader_start_after_another_one_is_refused_with_the_current_epoch() {
        let mut shard = Fixture::new();
        let before = shard.state.epoch();
        shard.take_over();
        let outcome = shard.leader_start(before);
        let current = shard.state.epoch();
        assert_eq!(
            outcome,
            Outcome::Refused(Refusal::Epoch {
                given: before,
                current
            })
        );
        assert_eq!(current, before.next());
    }
}
