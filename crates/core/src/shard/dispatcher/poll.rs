//! What to propose next: leases and jobs that ran out first, since that is what others wait for, then grants.

use std::time::Duration;

use leasehold_types::{JobId, RegionName, Timestamp, limits};

use super::watch::Ending;
use super::{Dispatcher, Gate, terms};
use crate::shard::command::{Command, Expire, ExpireReason, Purge, Release, ReleaseCause};
use crate::shard::state::ShardState;

/// What a leader should propose now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Poll {
    /// At most `limits::ENTRY_COMMANDS`; they count as proposed until their batch is settled.
    pub commands: Vec<Command>,
    /// The shard's clock has to move: propose a batch even without commands, since its stamp makes waiting jobs ready
    /// and tells the next leader what time it is.
    pub tick: bool,
}

impl Poll {
    /// Whether there is nothing to propose.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.commands.is_empty() && !self.tick
    }

    pub(super) fn room(&self) -> usize {
        limits::ENTRY_COMMANDS.saturating_sub(self.commands.len())
    }
}

impl Dispatcher {
    /// Says what to propose now. What it gives counts as proposed until its batch is settled.
    ///
    /// `is_unreachable`: whether the worker path of a region is unreachable by verdict. Behind a closed gate nothing
    /// is granted, but what ran out still ends: that is in nobody's way, and the log decides.
    pub fn poll(
        &mut self,
        state: &ShardState,
        gate: Gate,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        now: Timestamp,
    ) -> Poll {
        let mut poll = Poll::default();
        self.resolve_doubts(state, now);
        self.reconcile(state, now);
        self.forget_silent(now);
        self.propose_deadlines(state, now, &mut poll);
        self.propose_endings(state, is_unreachable, now, &mut poll);
        let notes = self.leases.take_notes(poll.room(), now);
        poll.commands
            .extend(notes.into_iter().map(Command::Contact));
        self.propose_purge(state, now, &mut poll);
        self.matching.catch_up(state);
        if gate.is_open() {
            self.propose_grants(state, is_unreachable, now, &mut poll);
        }
        self.has_more = poll.room() == 0;
        poll.tick = self.propose_tick(state, now);
        poll
    }

    fn propose_endings(
        &mut self,
        state: &ShardState,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        now: Timestamp,
        poll: &mut Poll,
    ) {
        let terms_of = |job, fence| terms(state, job, fence);
        self.leases.end_overdue(&terms_of, now);
        self.leases.end_cut_off(is_unreachable, &terms_of, now);
        for (job, fence, ending) in self.leases.take_endings(poll.room()) {
            poll.commands.push(match ending {
                Ending::Expire(reason) => Command::Expire(Expire {
                    job,
                    fence: Some(fence),
                    reason,
                }),
                Ending::Return => Command::Release(Release {
                    job,
                    fence,
                    reason: "the job did not reach its worker".to_owned(),
                    cause: ReleaseCause::Undelivered,
                }),
            });
        }
    }

    /// Ends jobs whose own deadline passed, whether anybody has them or not.
    fn propose_deadlines(&mut self, state: &ShardState, now: Timestamp, poll: &mut Poll) {
        let overdue = state.index.deadlines().iter();
        let overdue = overdue.take_while(|(at, _)| *at <= now);
        let overdue = overdue.filter_map(|(_, job)| Some(state.jobs.at(*job)?.header.id));
        let new: Vec<JobId> = overdue
            .filter(|job| !self.is_being_ended(*job))
            .take(poll.room())
            .collect();
        for job in new {
            if let Some(lease) = state.lease(job) {
                self.leases.watch_new(job, lease, now);
                let passed = Ending::Expire(ExpireReason::Deadline);
                self.leases.end(job, passed);
                continue;
            }
            self.in_flight.closing.insert(job);
            poll.commands.push(Command::Expire(Expire {
                job,
                fence: None,
                reason: ExpireReason::Deadline,
            }));
        }
    }

    fn is_being_ended(&self, job: JobId) -> bool {
        self.leases.is_ending(job) || self.in_flight.closing.contains(&job)
    }

    /// When a job's deadline passes that nothing is proposed about yet.
    pub(super) fn next_job_deadline(&self, state: &ShardState) -> Option<Timestamp> {
        let mut deadlines = state.index.deadlines().iter();
        let is_open = |job: u64| {
            let job = state.jobs.at(job).map(|job| job.header.id);
            job.is_some_and(|job| !self.is_being_ended(job))
        };
        let next = deadlines.find(|(_, job)| is_open(*job));
        next.map(|(at, _)| *at)
    }

    fn propose_purge(&mut self, state: &ShardState, now: Timestamp, poll: &mut Poll) {
        if poll.room() > 0 && self.next_purge(state).is_some_and(|at| at <= now) {
            self.in_flight.purge.propose();
            let limit = limits::PURGE_JOBS;
            poll.commands.push(Command::Purge(Purge { limit }));
        }
    }

    pub(super) fn next_purge(&self, state: &ShardState) -> Option<Timestamp> {
        let from = state.next_purge()?;
        self.in_flight.purge.wanted(from)
    }

    fn propose_tick(&mut self, state: &ShardState, now: Timestamp) -> bool {
        let is_due = self.next_tick(state).is_some_and(|due| due <= now);
        if is_due {
            self.in_flight.tick.propose();
        }
        is_due
    }

    /// When the clock in the state has to move: a waiting job falls due, or the clock lags too far behind.
    pub(super) fn next_tick(&self, state: &ShardState) -> Option<Timestamp> {
        let waiting = state.index.next_waiting().map(|(due, _)| due);
        let led = state.stamp().since(self.started_at);
        let lag = clock_lag(state, led).map(|lag| state.stamp() + lag);
        let from = waiting.into_iter().chain(lag).min()?;
        self.in_flight.tick.wanted(from)
    }

    fn forget_silent(&mut self, now: Timestamp) {
        for session in self.sessions.silent(now) {
            self.forget(session);
        }
    }
}

/// How far the clock in the state may lag behind the leader's that has led for so long by it; none while no job waits
/// for time to pass.
///
/// SUBTLE: what the clock gained since the newest entry is lost with its leader. Were it not moved now and then,
/// leaders that change every few seconds in an otherwise idle shard would each start from the same instant, and a dead
/// worker's lease would live for as long as they do. A young leader moves it sooner, so that one that falls young
/// loses no more than about half of its time.
fn clock_lag(state: &ShardState, led: Duration) -> Option<Duration> {
    let is_live = !state.index.deadlines().is_empty();
    let is_leased = !state.index.leased().is_empty();
    match (is_leased, is_live) {
        (true, _) => Some(led.clamp(LAG_AT_FIRST, LAG_WITH_LEASES)),
        (false, true) => Some(led.clamp(LAG_AT_FIRST, LAG_WITH_JOBS)),
        (false, false) => None,
    }
}

/// When a leadership begins.
const LAG_AT_FIRST: Duration = Duration::from_millis(250);
/// While there are leases.
const LAG_WITH_LEASES: Duration = Duration::from_secs(2);
/// While there are jobs that have not ended, none of them leased.
const LAG_WITH_JOBS: Duration = Duration::from_secs(15);
