//! When each lease runs out: the leader's memory of who was heard, and of how far they got.
//!
//! A lease's deadline moves with every renewal and is in no log. What is here is rebuilt at a takeover from what the
//! log does have: what was left of each lease, its grant, and the progress last written down. Timers are looked at
//! again when they fire, so that a renewal need not move them.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Its worker was gone before the grant could reach it.
    Return,
}

/// Whether the newest sign of life should be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noting {
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
    on_verdict: bool,
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
    region: RegionName,
    length: Duration,
    granted_at: Timestamp,
    /// When it runs out unless its worker is heard again.
    deadline: Timestamp,
    heard_at: Timestamp,
    /// Whether this leader heard its worker at all.
    is_heard: bool,
    pub(super) progress: u64,
    progressed_at: Timestamp,
    pub(super) phase: WorkPhase,
    /// Stamp of the newest logged sign of life.
    noted_at: Timestamp,
    noting: Noting,
    pub(super) ending: Option<Ending>,
    /// When its timer fires; the truth may by then be later, never earlier.
    timer: Timestamp,
    /// When it is next asked whether its worker is quiet, should the region be unreachable.
    quiet: Timestamp,
}

impl Watch {
    fn new(lease: &Lease, left: Duration, now: Timestamp) -> Self {
        Self {
            fence: lease.fence,
            region: lease.region.clone(),
            length: lease.length,
            granted_at: lease.granted_at,
            deadline: now + left,
            heard_at: now,
            is_heard: false,
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
    fn quiet_at(&self) -> Timestamp {
        self.heard_at + self.length / limits::RENEWALS_PER_LEASE * 2
    }

    /// When and why it ends if nothing more is heard.
    fn end(&self, terms: Terms) -> (Timestamp, ExpireReason) {
        let silent = (self.deadline, ExpireReason::Silent);
        let too_long = self.granted_at + terms.attempt_limit;
        let attempt = (too_long, ExpireReason::AttemptLimit);
        let stalled = self.stalled_at(terms);
        let stalled = stalled.map(|at| (at, ExpireReason::Stalled));
        let ends = [Some(silent), Some(attempt), stalled];
        let ends = ends.into_iter().flatten();
        ends.min_by_key(|(at, _)| *at).unwrap_or(silent)
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
    fn hear(&mut self, renewal: &Renewal, now: Timestamp) {
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
    fn wants_noting(&self, was_heard: bool, is_inherited: bool, now: Timestamp) -> bool {
        let is_old = self.length > LONG_LEASE && now.since(self.noted_at) >= self.length / 2;
        is_old || (is_inherited && !was_heard)
    }
}

/// A lease longer than this is noted in the log every half of it.
const LONG_LEASE: Duration = Duration::from_secs(60);
/// Signs of life are gathered for so long before they are written down together.
const NOTE_EVERY: Duration = Duration::from_secs(1);

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
            self.notes.insert(job);
            self.notes_due.get_or_insert(now + NOTE_EVERY);
        }
        if end < timer {
            self.set_timer(job, end);
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
                Some((end, reason)) if end <= now => self.end(job, Ending::Expire(reason)),
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
                self.notes.insert(job);
                self.notes_due.get_or_insert(now + NOTE_EVERY);
            }
            None => {}
        }
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

impl Watch {
    const fn contact(&self, job: JobId) -> Contact {
        Contact {
            job,
            fence: self.fence,
            progress: self.progress,
            progressed_at: self.progressed_at,
            phase: self.phase,
        }
    }
}
