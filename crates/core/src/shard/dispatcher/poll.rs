//! What to propose next: leases and jobs that ran out first, since that is what others wait for, then grants.

use leasehold_types::{JobId, RegionName, Timestamp, limits};

use super::leases::Ending;
use super::{Dispatcher, Gate, terms};
use crate::shard::command::{Command, Expire, ExpireReason, Purge, Release};
use crate::shard::state::ShardState;

/// What a leader should propose now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Poll {
    /// At most `limits::ENTRY_COMMANDS`; they count as proposed until their batch is settled.
    pub commands: Vec<Command>,
    /// Waiting jobs have fallen due: propose a batch even without commands, since its stamp makes them ready.
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
                    reason: "the worker was gone before the job reached it".to_owned(),
                }),
            });
        }
    }

    /// Ends jobs whose own deadline passed, whether anybody has them or not.
    fn propose_deadlines(&mut self, state: &ShardState, now: Timestamp, poll: &mut Poll) {
        let overdue = state.index.deadlines().iter();
        let overdue = overdue.take_while(|(at, _)| *at <= now);
        let overdue = overdue.map(|(_, job)| *job);
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
        let next = deadlines.find(|(_, job)| !self.is_being_ended(*job));
        next.map(|(at, _)| *at)
    }

    fn propose_purge(&mut self, state: &ShardState, now: Timestamp, poll: &mut Poll) {
        if poll.room() > 0 && self.next_purge(state).is_some_and(|at| at <= now) {
            self.in_flight.is_purging = true;
            let limit = limits::PURGE_JOBS;
            poll.commands.push(Command::Purge(Purge { limit }));
        }
    }

    pub(super) fn next_purge(&self, state: &ShardState) -> Option<Timestamp> {
        state.next_purge().filter(|_| !self.in_flight.is_purging)
    }

    fn propose_tick(&mut self, state: &ShardState, now: Timestamp) -> bool {
        let is_due = self.next_wake(state).is_some_and(|due| due <= now);
        self.in_flight.is_ticking |= is_due;
        is_due
    }

    pub(super) fn next_wake(&self, state: &ShardState) -> Option<Timestamp> {
        let (due, _) = state.index.next_waiting()?;
        (!self.in_flight.is_ticking).then_some(due)
    }

    fn forget_silent(&mut self, now: Timestamp) {
        for session in self.sessions.silent(now) {
            self.forget(session);
        }
    }
}
