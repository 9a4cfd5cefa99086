//! When each lease runs out: the leader's memory of who was heard, and of how far they got.
//!
//! A lease's deadline moves with every renewal and is in no log. What is here is rebuilt at a takeover from what the
//! log does have: what was left of each lease, its grant, and the progress last written down. Timers are looked at
//! again when they fire, so that a renewal need not move them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_types::{FenceToken, JobId, RegionName, Timestamp, limits};

use super::message::Renewal;
use super::watch::{Ending, Noting, Terms, Watch};
use crate::shard::command::{Contact, ExpireReason};
use crate::shard::job::Lease;

/// Signs of life are gathered for so long before they are written down together.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The first after a takeover: a leader that falls before it is written has heard the worker for nothing. Long enough
/// for those that arrive together to go together.
const NOTE_FIRST: Duration = Duration::from_millis(20);

/// All leases of a shard.
#[derive(Debug, Default)]
pub(super) struct Leases {
    watches: BTreeMap<JobId, Watch>,
    timers: BTreeSet<(Timestamp, JobId)>,
    /// By region, when each lease's worker counts as quiet; looked at again when it comes to that.
    quiet: BTreeMap<RegionName, BTreeSet<(Timestamp, JobId)>>,
    /// Regions that were unreachable by verdict when last asked.
    unreachable: BTreeSet<RegionName>,
    /// Leases to be ended, with nothing proposed yet.
    endings: BTreeSet<JobId>,
    /// Leases whose sign of life is to be written down.
    notes: BTreeSet<JobId>,
    /// When the notes are to be written.
    notes_due: Option<Timestamp>,
}

/// The terms of a lease, if it is still the job's current one.
pub(super) type TermsOf<'a> = &'a dyn Fn(JobId, FenceToken) -> Option<Terms>;

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    pub(super) fn get(&self, job: JobId) -> Option<&Watch> {
        self.watches.get(&job)
    }

    pub(super) fn is_ending(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|watch| watch.ending.is_some())
    }

    /// How many leases workers of each region hold.
    pub(super) fn by_region(&self) -> BTreeMap<RegionName, u64> {
        let mut counts = BTreeMap::new();
        for watch in self.watches.values() {
            *counts.entry(watch.region.clone()).or_default() += 1;
        }
        counts
    }

    /// The lease under this fence, if it is watched.
    pub(super) fn under(&mut self, job: JobId, fence: FenceToken) -> Option<&mut Watch> {
        self.watches
            .get_mut(&job)
            .filter(|watch| watch.fence == fence)
    }

    /// Watches a lease that has its whole length before it, unless it is watched already.
    pub(super) fn watch_new(&mut self, job: JobId, lease: &Lease, now: Timestamp) {
        if self.under(job, lease.fence).is_none() {
            self.watch(job, lease, lease.length, now);
        }
    }

    /// Watches a lease that has so much left.
    pub(super) fn watch(&mut self, job: JobId, lease: &Lease, left: Duration, now: Timestamp) {
        self.unwatch(job);
        let watch = Watch::new(lease, left, now);
        let (deadline, quiet) = (watch.deadline, watch.quiet_at());
        self.watches.insert(job, watch);
        self.set_timer(job, deadline);
        self.set_quiet(job, quiet);
    }

    /// Lets go of a lease that has ended.
    pub(super) fn unwatch(&mut self, job: JobId) {
        let Some(watch) = self.watches.remove(&job) else {
            return;
        };
        self.unset(job, &watch);
        self.endings.remove(&job);
    }

    /// Lets go of the lease under this fence, if it is the one that is watched.
    pub(super) fn unwatch_under(&mut self, job: JobId, fence: FenceToken) {
        if self.under(job, fence).is_some() {
            self.unwatch(job);
        }
    }

    /// Lets go of every lease that is not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(JobId, FenceToken) -> bool) {
        let watches = self.watches.iter();
        let gone = watches.filter(|(job, watch)| !is_kept(**job, watch.fence));
        let gone: Vec<JobId> = gone.map(|(job, _)| *job).collect();
        gone.into_iter().for_each(|job| self.unwatch(job));
    }

    /// Takes a lease out of everything that comes to it by time.
    fn unset(&mut self, job: JobId, watch: &Watch) {
        self.timers.remove(&(watch.timer, job));
        self.notes.remove(&job);
        if let Some(quiet) = self.quiet.get_mut(&watch.region) {
            quiet.remove(&(watch.quiet, job));
        }
    }

    fn set_timer(&mut self, job: JobId, at: Timestamp) {
        if let Some(watch) = self.watches.get_mut(&job) {
            self.timers.remove(&(watch.timer, job));
            watch.timer = at;
            self.timers.insert((at, job));
        }
    }

    fn set_quiet(&mut self, job: JobId, at: Timestamp) {
        if let Some(watch) = self.watches.get_mut(&job) {
            let quiet = self.quiet.entry(watch.region.clone()).or_default();
            quiet.remove(&(watch.quiet, job));
            quiet.insert((at, job));
            watch.quiet = at;
        }
    }

    /// The worker was heard. `is_inherited`: the lease was granted by an earlier leader.
    pub(super) fn hear(
        &mut self,
        renewal: &Renewal,
        is_inherited: bool,
        terms: Terms,
        now: Timestamp,
    ) {
        let job = renewal.job;
        let Some(watch) = self.watches.get_mut(&job) else {
            return;
        };
        let was_heard = watch.is_heard;
        watch.hear(renewal, now);
        let (end, _) = watch.end(terms);
        let timer = watch.timer;
        if watch.noting == Noting::Nothing && watch.wants_noting(was_heard, is_inherited, now) {
            watch.noting = Noting::Wanted;
            let is_first = is_inherited && !was_heard;
            self.want_note(job, if is_first { NOTE_FIRST } else { NOTE_EVERY }, now);
        }
        if end < timer {
            self.set_timer(job, end);
        }
    }

    /// Whether the grant reached its worker is not known.
    pub(super) fn doubt(&mut self, job: JobId, fence: FenceToken) {
        if let Some(watch) = self.under(job, fence) {
            watch.is_doubted = true;
        }
    }

    /// Gives up on a lease: renewals are refused from now on.
    pub(super) fn end(&mut self, job: JobId, ending: Ending) {
        let Some(watch) = self.watches.get_mut(&job) else {
            return;
        };
        if watch.ending.is_some() {
            return;
        }
        watch.ending = Some(ending);
        let watch = watch.clone();
        self.unset(job, &watch);
        self.endings.insert(job);
    }

    /// Finds the leases that ran out.
    pub(super) fn end_overdue(&mut self, terms_of: TermsOf<'_>, now: Timestamp) {
        while let Some((at, job)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            let Some(watch) = self.watches.get(&job) else {
                continue;
            };
            match terms_of(job, watch.fence).map(|terms| watch.end(terms)) {
                Some((end, reason)) if end <= now => self.end(job, watch.ending(reason)),
                Some((end, _)) => self.set_timer(job, end),
                None => self.unwatch(job),
            }
        }
    }

    /// Finds the leases that a verdict cuts short: their region is unreachable and their worker was not heard lately.
    pub(super) fn end_cut_off(
        &mut self,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        terms_of: TermsOf<'_>,
        now: Timestamp,
    ) {
        self.quiet.retain(|_, leases| !leases.is_empty());
        let regions = self.quiet.keys().filter(|region| is_unreachable(region));
        self.unreachable = regions.cloned().collect();
        for region in self.unreachable.clone() {
            while let Some(job) = self.next_quiet(&region, now) {
                self.judge_quiet(job, terms_of, now);
            }
        }
    }

    fn next_quiet(&mut self, region: &RegionName, now: Timestamp) -> Option<JobId> {
        let leases = self.quiet.get_mut(region)?;
        let (at, job) = *leases.first()?;
        if at > now {
            return None;
        }
        leases.pop_first();
        Some(job)
    }

    fn judge_quiet(&mut self, job: JobId, terms_of: TermsOf<'_>, now: Timestamp) {
        let Some(watch) = self.watches.get(&job) else {
            return;
        };
        let at = watch.quiet_at();
        let on_verdict = terms_of(job, watch.fence).is_some_and(|terms| terms.on_verdict);
        if at <= now && on_verdict {
            self.end(job, Ending::Expire(ExpireReason::Verdict));
            return;
        }
        // One that may not be cut short is looked at again after a while: its queue's policy may change.
        let again = if at > now {
            at
        } else {
            now + watch.length.max(NOTE_EVERY)
        };
        self.set_quiet(job, again);
    }

    /// Up to so many endings to propose; from now on they count as proposed.
    pub(super) fn take_endings(&mut self, most: usize) -> Vec<(JobId, FenceToken, Ending)> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(job) = self.endings.pop_first()
        {
            if let Some(watch) = self.watches.get(&job)
                && let Some(ending) = watch.ending
            {
                taken.push((job, watch.fence, ending));
            }
        }
        taken
    }

    /// An ending was not done: it is proposed again, or taken back where it turned out to be wrong.
    pub(super) fn end_again(&mut self, job: JobId, fence: FenceToken) {
        if self.under(job, fence).is_some_and(|w| w.ending.is_some()) {
            self.endings.insert(job);
        }
    }

    /// This leader's ending was refused although the lease is current: it goes on until it runs out.
    pub(super) fn carry_on(
        &mut self,
        job: JobId,
        fence: FenceToken,
        is_refused: impl Fn(Ending) -> bool,
        now: Timestamp,
    ) {
        let Some(watch) = self.under(job, fence) else {
            return;
        };
        if !watch.ending.is_some_and(is_refused) {
            return;
        }
        watch.ending = None;
        let (deadline, length, quiet) = (watch.deadline, watch.length, watch.quiet_at());
        self.endings.remove(&job);
        self.set_timer(job, deadline.max(now + length / limits::RENEWALS_PER_LEASE));
        self.set_quiet(job, quiet);
    }

    /// The signs of life to write down now, up to so many.
    pub(super) fn take_notes(&mut self, most: usize, now: Timestamp) -> Vec<Contact> {
        let mut taken = Vec::new();
        if self.notes_due.is_none_or(|due| now < due) {
            return taken;
        }
        while taken.len() < most
            && let Some(job) = self.notes.pop_first()
        {
            if let Some(watch) = self.watches.get_mut(&job) {
                watch.noting = Noting::Proposed;
                taken.push(watch.contact(job));
            }
        }
        self.notes_due = (!self.notes.is_empty()).then_some(now);
        taken
    }

    /// A sign of life was written down, or was not and is to be written with the next.
    pub(super) fn noted(
        &mut self,
        job: JobId,
        fence: FenceToken,
        at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let Some(watch) = self.under(job, fence) else {
            return;
        };
        match at {
            Some(at) => {
                watch.noting = Noting::Nothing;
                watch.noted_at = at;
            }
            None if watch.ending.is_none() => {
                watch.noting = Noting::Wanted;
                self.want_note(job, NOTE_EVERY, now);
            }
            None => {}
        }
    }

    fn want_note(&mut self, job: JobId, within: Duration, now: Timestamp) {
        self.notes.insert(job);
        let due = now + within;
        self.notes_due = Some(self.notes_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When something here is to be looked at next.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let quiet = self.unreachable.iter().filter_map(|r| self.quiet.get(r));
        let quiet = quiet.filter_map(|leases| leases.first()).map(|(at, _)| *at);
        let notes = self.notes_due.filter(|_| !self.notes.is_empty());
        quiet.chain(timer).chain(notes).min()
    }

    /// Whether nothing is left of leases that have ended.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.watches.is_empty()
            && self.timers.is_empty()
            && self.quiet.values().all(BTreeSet::is_empty)
            && self.endings.is_empty()
            && self.notes.is_empty()
    }

    /// Whether endings wait to be proposed.
    pub(super) fn has_endings(&self) -> bool {
        !self.endings.is_empty()
    }
}
