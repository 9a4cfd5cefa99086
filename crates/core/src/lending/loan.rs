//! What one session has lent to one shard's leader.
//!
//! Grants are numbered from 1 within a leadership. `known` is the highest number known to have been made, `missing`
//! are the numbers below it that have not arrived, and `ceiling` is the number up to which the leader may go on by
//! itself. So what may still arrive is `missing + (ceiling − known)`.

use std::collections::BTreeMap;

use leasehold_types::{ShardEpoch, Timestamp, limits};

use super::{FAILURES, OfferAnswer, Pace, RETRY};
use crate::retry::backoff;

/// A leader that has granted nothing for so many refreshes has nothing for this session: its jobs ask for other
/// labels, or it may not grant. Its backlog then counts as none until it grants again, or for one void after the
/// slots were taken away.
const FRUITLESS_REFRESHES: u32 = 2;

#[derive(Debug, Clone, Default)]
pub(super) struct Loan {
    /// Zero until a leader has answered.
    epoch: ShardEpoch,
    known: u64,
    /// Since when each is known to be missing.
    missing: BTreeMap<u64, Timestamp>,
    ceiling: u64,
    asked: Option<Asked>,
    /// The leader does not hold what was offered: offer again at once.
    offer_again: bool,
    failures: u32,
    /// When an offer last found no leader; none when there was one that refused.
    failed_at: Option<Timestamp>,
    retry_at: Timestamp,
    sent_at: Timestamp,
    sent_spoken: u64,
    /// When an offer that lends something was last sent.
    exposed_at: Timestamp,
    backlog: u64,
    backlog_at: Timestamp,
    /// When work was last seen there.
    busy_at: Option<Timestamp>,
    /// Since when slots have been lent without a grant.
    waiting_since: Option<Timestamp>,
    barren_until: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    call: u64,
    free: u32,
    ceiling: u64,
    known: u64,
}

impl Loan {
    /// What may still arrive.
    pub(super) fn exposure(&self) -> u64 {
        let asked = self.asked.map_or(0, |asked| asked.ceiling);
        self.missing() + self.ceiling.max(asked).saturating_sub(self.known)
    }

    fn missing(&self) -> u64 {
        u64::try_from(self.missing.len()).unwrap_or(u64::MAX)
    }

    fn granted_seen(&self) -> u64 {
        self.known.saturating_sub(self.missing())
    }

    /// Whether a leader is there that takes offers, as far as is known. News of work show that one has come since.
    pub(super) fn is_usable(&self, news_at: Timestamp) -> bool {
        let has_come = self.failed_at.is_some_and(|at| news_at > at);
        self.failures < FAILURES || has_come
    }

    /// Whether a leader has, or may have, heard of the session.
    pub(super) const fn is_known(&self) -> bool {
        self.epoch.get() > 0 || self.asked.is_some()
    }

    pub(super) fn arrived(&mut self, epoch: ShardEpoch, grant: u64, now: Timestamp) {
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            self.start_over(epoch, grant);
        }
        self.learn(grant, now);
        self.missing.remove(&grant);
        self.failures = 0;
        self.busy_at = Some(now);
        self.waiting_since = Some(now);
        self.barren_until = Timestamp::ZERO;
    }

    /// Another leadership, whose count for this session stands at `granted`: whatever it made before that is somebody
    /// else's past. What the leadership before it had made and not delivered may still arrive; by then it finds a slot
    /// or is handed back.
    fn start_over(&mut self, epoch: ShardEpoch, granted: u64) {
        self.epoch = epoch;
        self.recount(granted);
        self.asked = self.asked.map(|asked| Asked {
            ceiling: granted + u64::from(asked.free),
            known: 0,
            ..asked
        });
    }

    /// The leader's count is not the one that the last offer went by, so the offer has to be made again.
    fn recount(&mut self, granted: u64) {
        self.known = granted;
        self.ceiling = granted;
        self.missing.clear();
        self.offer_again = true;
    }

    /// Grants up to this number have been made. A jump by more than a session can have free is somebody else's count.
    fn learn(&mut self, granted: u64, now: Timestamp) {
        if granted <= self.known {
            return;
        }
        if granted - self.known <= u64::from(limits::WORKER_CREDIT) {
            let unseen = self.known + 1..=granted;
            self.missing.extend(unseen.map(|number| (number, now)));
        }
        self.known = granted;
    }

    pub(super) fn answered(&mut self, call: u64, answer: OfferAnswer, now: Timestamp) {
        let Some(asked) = self.asked.take_if(|asked| asked.call == call) else {
            return;
        };
        if answer.epoch < self.epoch {
            // A leader that was deposed meanwhile: its answer says nothing about the one in charge.
            self.ceiling = self.ceiling.max(asked.ceiling);
            self.offer_again = true;
            self.retry_at = now + RETRY.base;
            return;
        }
        self.failures = 0;
        self.settle(asked, answer, now);
        self.note_backlog(answer.backlog, now);
        if answer.is_refused {
            self.refuse(now);
        }
    }

    /// The leader took none of it: the slots are better lent elsewhere, and it is asked again a while later.
    fn refuse(&mut self, now: Timestamp) {
        self.ceiling = self.known;
        self.failures = FAILURES;
        self.failed_at = None;
        self.busy_at = None;
        self.offer_again = true;
        self.retry_at = now + RETRY.cap;
    }

    fn settle(&mut self, asked: Asked, answer: OfferAnswer, now: Timestamp) {
        let has_forgotten = answer.epoch == self.epoch && answer.granted < asked.known;
        if answer.epoch > self.epoch {
            self.start_over(answer.epoch, answer.granted);
        } else if has_forgotten {
            self.recount(answer.granted);
        }
        self.learn(answer.granted, now);
        // SUBTLE: a leader that counts anew may have taken the offer as it stood, on top of its own count.
        self.ceiling = if self.offer_again {
            answer.granted + u64::from(asked.free)
        } else {
            asked.ceiling
        };
    }

    fn note_backlog(&mut self, backlog: u64, now: Timestamp) {
        self.backlog = backlog;
        self.backlog_at = now;
        if backlog > 0 {
            self.busy_at = Some(now);
        }
    }

    pub(super) fn failed(
        &mut self,
        call: u64,
        certainly_not_done: bool,
        draw: u64,
        now: Timestamp,
    ) {
        let Some(asked) = self.asked.take_if(|asked| asked.call == call) else {
            return;
        };
        if !certainly_not_done {
            self.ceiling = self.ceiling.max(asked.ceiling);
        }
        self.offer_again = true;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.retry_at = now + backoff(&RETRY, self.failures, draw);
    }

    /// Writes off what cannot arrive any more, and gives up on a leader that grants nothing. One that failed, and has
    /// not been asked since because there were others, gets another chance.
    pub(super) fn age(&mut self, pace: &Pace, now: Timestamp) {
        if self.forgiven_at(pace).is_some_and(|at| at <= now) {
            self.failures = 0;
        }
        self.missing
            .retain(|_, since| now.since(*since) < pace.void);
        let is_void = self.asked.is_none() && now.since(self.exposed_at) >= pace.void;
        if is_void {
            self.ceiling = self.ceiling.min(self.known);
        }
        let waits = self.ceiling > self.known;
        self.waiting_since = self.waiting_since.or(Some(now)).filter(|_| waits);
        let patience = pace.refresh * FRUITLESS_REFRESHES;
        if self
            .waiting_since
            .is_some_and(|since| now.since(since) >= patience)
        {
            self.barren_until = now + pace.void;
        }
    }

    fn forgiven_at(&self, pace: &Pace) -> Option<Timestamp> {
        let is_over = self.failures >= FAILURES && self.asked.is_none();
        is_over.then(|| self.retry_at + pace.void)
    }

    /// Jobs ready for this session there: the newer of the leader's last answer and the board's news. An answer that
    /// was not repeated for two refreshes says nothing any more.
    pub(super) fn backlog(&self, news: (u64, Timestamp), pace: &Pace, now: Timestamp) -> u64 {
        let (ready, at) = news;
        if now < self.barren_until {
            0
        } else if at > self.backlog_at {
            ready
        } else if now.since(self.backlog_at) < pace.refresh * 2 {
            self.backlog
        } else {
            0
        }
    }

    /// Whether work was seen there within the last refresh.
    pub(super) fn lingers(&self, pace: &Pace, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| now.since(at) < pace.refresh;
        self.busy_at.is_some_and(is_recent) && now >= self.barren_until
    }

    /// The number to offer now, if any: towards `target`, by at most `raise` upwards.
    pub(super) fn next_offer(
        &self,
        target: u32,
        raise: u32,
        pace: &Pace,
        spoken: u64,
        now: Timestamp,
    ) -> Option<u32> {
        if self.asked.is_some() || now < self.retry_at {
            return None;
        }
        if self.epoch == ShardEpoch::ZERO {
            // The leader may still count grants of an earlier connection: ask for its count first.
            return (target > 0).then_some(0);
        }
        let lent = self.exposure();
        let lowest = u32::try_from(self.missing()).unwrap_or(u32::MAX);
        let lent = u32::try_from(lent).unwrap_or(u32::MAX);
        let wanted = if target < lent {
            target.max(lowest)
        } else {
            lent + raise
        };
        let is_due = self.is_refresh_due(pace, spoken, now);
        let again = self.offer_again && wanted > 0;
        (wanted != lent || again || is_due).then_some(wanted)
    }

    /// SUBTLE: only if the worker has spoken since: a gateway that went on by itself would keep a dead one's slots.
    fn is_refresh_due(&self, pace: &Pace, spoken: u64, now: Timestamp) -> bool {
        let is_time = now.since(self.sent_at) >= pace.refresh;
        self.exposure() > 0 && is_time && spoken > self.sent_spoken
    }

    /// Notes an offer as sent: its epoch and its count of grants seen.
    pub(super) fn ask(
        &mut self,
        call: u64,
        free: u32,
        spoken: u64,
        now: Timestamp,
    ) -> (ShardEpoch, u64) {
        let granted_seen = self.granted_seen();
        self.asked = Some(Asked {
            call,
            free,
            ceiling: granted_seen + u64::from(free),
            known: self.known,
        });
        self.offer_again = false;
        self.sent_at = now;
        self.sent_spoken = spoken;
        if free > 0 {
            self.exposed_at = now;
        }
        (self.epoch, granted_seen)
    }

    /// Every instant at which something may become due by itself. Those that are past are over.
    pub(super) fn deadlines(&self, pace: &Pace, spoken: u64) -> impl Iterator<Item = Timestamp> {
        let is_free = self.asked.is_none();
        let lends = self.exposure() > 0;
        let retry = (is_free && self.offer_again).then_some(self.retry_at);
        let refreshes = is_free && lends && spoken > self.sent_spoken;
        let refresh = refreshes.then(|| self.sent_at + pace.refresh);
        let void = (is_free && lends).then(|| self.exposed_at + pace.void);
        let written_off = self.missing.values().min().map(|since| *since + pace.void);
        let linger_ends = self.busy_at.filter(|_| lends).map(|at| at + pace.refresh);
        let patience = pace.refresh * FRUITLESS_REFRESHES;
        let barren = self.waiting_since.map(|since| since + patience);
        let forgiven = self.forgiven_at(pace);
        [
            retry,
            refresh,
            void,
            written_off,
            linger_ends,
            barren,
            forgiven,
        ]
        .into_iter()
        .flatten()
    }
}
