//! Leases over changes of leaders: one to five in a row, with a dead, a stalled and a live worker.
//!
//! The time without a leader does not count, and so does not occur here. What passes is the leaders' time; the shard's
//! clock loses a little of it with each of them.

use std::time::Duration;

use leasehold_types::{FenceToken, Timestamp};
use proptest::prelude::*;

use super::desk::{Desk, offer, renewal};
use super::fixture::{SECOND, job, submit};
use crate::shard::command::ExpireReason;
use crate::shard::dispatcher::RenewalAnswer;
use crate::shard::job::AttemptEnd;
use crate::shard::outcome::Stale;

const MILLISECOND: Duration = Duration::from_millis(1);
const LEASE: Duration = Duration::from_secs(30);
const RENEWAL: Duration = Duration::from_secs(5);
const STALL_LIMIT: Duration = Duration::from_secs(90);

/// What the worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temper {
    /// Says nothing any more.
    Dead,
    /// Renews without progress.
    Stalled,
    /// Renews with progress.
    Live,
}

/// A job at a worker of this temper, while leaders change.
struct Watch {
    desk: Desk,
    fence: FenceToken,
    granted_at: Timestamp,
    temper: Temper,
    /// Leaders' time since the grant, and when in it the lease was first seen to have ended.
    elapsed: Duration,
    gone_at: Option<Duration>,
    progress: u64,
    told_to_stop: Option<Stale>,
}

impl Watch {
    fn new(temper: Temper) -> Self {
        let mut desk = Desk::new();
        desk.shard.submit(submit(1));
        desk.offer(offer(1, 1));
        let fence = desk.run()[0].fence;
        let granted_at = desk.shard.now;
        Self {
            desk,
            fence,
            granted_at,
            temper,
            elapsed: Duration::ZERO,
            gone_at: None,
            progress: 0,
            told_to_stop: None,
        }
    }

    /// One leader serves for so long; the worker renews meanwhile as it is wont to.
    fn pass(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while self.elapsed < end {
            let beats = self.elapsed.as_millis() / RENEWAL.as_millis();
            let next_beat = RENEWAL * (u32::try_from(beats).unwrap() + 1);
            let step = next_beat.min(end) - self.elapsed;
            self.desk.run_for(step);
            self.elapsed += step;
            if self.elapsed == next_beat {
                self.renew();
            }
            if self.end().is_some() {
                self.gone_at.get_or_insert(self.elapsed);
            }
        }
    }

    fn renew(&mut self) {
        match self.temper {
            Temper::Dead => return,
            Temper::Stalled => {}
            Temper::Live => self.progress += 1,
        }
        let answer = self
            .desk
            .renew(1, renewal(job(1), self.fence, self.progress));
        if let RenewalAnswer::Stop { why, .. } = answer {
            self.told_to_stop = Some(why);
        }
    }

    /// How long after the grant the lease ended, and why.
    fn end(&self) -> Option<(Duration, ExpireReason)> {
        let history = self.desk.shard.state.job(job(1)).unwrap().history;
        let first = history.first()?;
        let AttemptEnd::Expired(reason) = first.end else {
            panic!("ended otherwise: {first:?}");
        };
        Some((first.ended_at.since(self.granted_at), reason))
    }
}

/// What the shard's clock may lose with so many leaders.
fn lost_time(takeovers: usize) -> Duration {
    2 * SECOND * u32::try_from(takeovers).unwrap()
}

/// Leaders that serve for so long each, and then one that stays.
fn served(temper: Temper, leaders: &[Duration], last: Duration) -> Watch {
    let mut watch = Watch::new(temper);
    for served in leaders {
        watch.pass(*served);
        watch.desk.take_over();
    }
    watch.pass(last);
    watch
}

#[test]
fn dead_worker_s_lease_ends_in_an_idle_shard_whose_leaders_change_all_the_time() {
    let watch = served(Temper::Dead, &[4 * SECOND; 100], SECOND);
    assert!(watch.gone_at.unwrap() <= 6 * LEASE, "{:?}", watch.gone_at);
}

#[test]
fn dead_worker_s_lease_ends_though_no_leader_lasts_two_seconds() {
    for spell in [400, 1_900] {
        let watch = served(Temper::Dead, &[spell * MILLISECOND; 400], SECOND);
        assert!(watch.gone_at.unwrap() <= 6 * LEASE, "{:?}", watch.gone_at);
    }
}

#[test]
fn dead_worker_s_lease_ends_after_one_lease_without_takeovers() {
    let watch = served(Temper::Dead, &[], 100 * SECOND);
    assert_eq!(watch.end(), Some((LEASE, ExpireReason::Silent)));
}

#[test]
fn dead_worker_s_lease_ends_within_three_leases_over_one_to_five_takeovers() {
    for takeovers in 1..=5 {
        for apart in [1, 5, 10, 14, 29] {
            let leaders = vec![apart * SECOND; takeovers];
            let watch = served(Temper::Dead, &leaders, 100 * SECOND);
            let (after, reason) = watch.end().unwrap();
            assert!(
                after <= 3 * LEASE,
                "{takeovers} takeovers {apart} s apart: {after:?}"
            );
            assert_eq!(reason, ExpireReason::Silent);
        }
    }
}

#[test]
fn live_worker_keeps_its_lease_over_one_to_five_takeovers() {
    for takeovers in 1..=5 {
        // Each leader lives long enough to hear the worker and to write that down. The longest also lets the progress
        // in the log grow older than the stall limit.
        for apart in [7, 12, 29, 60, 120] {
            let leaders = vec![apart * SECOND; takeovers];
            let watch = served(Temper::Live, &leaders, 200 * SECOND);
            assert_eq!(watch.end(), None, "{takeovers} takeovers {apart} s apart");
            assert_eq!(watch.told_to_stop, None);
        }
    }
}

#[test]
fn stalled_worker_loses_its_lease_a_stall_limit_after_the_first_takeover_at_the_latest() {
    for takeovers in 1..=5 {
        for apart in [7, 12, 29, 60] {
            let leaders = vec![apart * SECOND; takeovers];
            let watch = served(Temper::Stalled, &leaders, 300 * SECOND);
            let (after, _) = watch.end().unwrap();
            let latest = apart * SECOND + RENEWAL + STALL_LIMIT;
            assert!(
                after <= latest,
                "{takeovers} takeovers {apart} s apart: {after:?}"
            );
            assert!(watch.told_to_stop.is_some());
        }
    }
}

#[test]
fn three_leaders_that_hear_nobody_do_not_end_a_live_worker_s_lease() {
    let quick = vec![SECOND; 3];
    let watch = served(Temper::Live, &quick, 200 * SECOND);
    assert_eq!(watch.end(), None);
}

#[test]
fn live_worker_keeps_its_lease_though_each_leader_falls_soon_after_it_heard_it() {
    let mut watch = Watch::new(Temper::Live);
    for _ in 0..12 {
        watch.pass(4_900 * MILLISECOND);
        watch.renew();
        watch.pass(99 * MILLISECOND);
        watch.desk.take_over();
    }
    assert_eq!(watch.end(), None);
}

#[test]
fn first_renewal_after_a_takeover_is_written_down_with_its_progress() {
    let mut watch = Watch::new(Temper::Live);
    watch.pass(20 * SECOND);
    assert_eq!(watch.desk.shard.state.lease(job(1)).unwrap().progress, 0);
    watch.desk.take_over();
    watch.pass(7 * SECOND);
    let lease = watch.desk.shard.state.lease(job(1)).unwrap();
    assert_eq!((lease.rearms, lease.progress), (0, 5));
}

#[test]
fn attempt_limit_goes_on_over_takeovers() {
    let watch = served(Temper::Live, &[400 * SECOND; 2], 400 * SECOND);
    let limit = (900 * SECOND, ExpireReason::AttemptLimit);
    assert_eq!(watch.end(), Some(limit));
}

fn spells(least: u64) -> impl Strategy<Value = Vec<Duration>> {
    prop::collection::vec(
        (least * 1_000..60_000).prop_map(Duration::from_millis),
        0..9,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn dead_worker_s_lease_ends_within_three_leases_however_leaders_change(leaders in spells(0)) {
        let watch = served(Temper::Dead, &leaders, 100 * SECOND);
        let (after, _) = watch.end().unwrap();
        prop_assert!(after <= 3 * LEASE, "{after:?}");
        let gone_at = watch.gone_at.unwrap();
        prop_assert!(gone_at <= 3 * LEASE + lost_time(leaders.len()) + RENEWAL, "{gone_at:?}");
    }

    #[test]
    fn live_worker_keeps_its_lease_while_leaders_hear_it(leaders in spells(7)) {
        let watch = served(Temper::Live, &leaders, 60 * SECOND);
        prop_assert_eq!(watch.end(), None);
    }

    #[test]
    fn stalled_worker_s_lease_ends_however_leaders_change(leaders in spells(0)) {
        let watch = served(Temper::Stalled, &leaders, 300 * SECOND);
        let (after, _) = watch.end().unwrap();
        let first = leaders.first().copied().unwrap_or_default();
        prop_assert!(after <= first + 3 * LEASE + STALL_LIMIT, "{after:?}");
    }
}
