//! What to propose next: leases and jobs that ran out first, since that is what others wait for, then grants.

use std::time::Duration;

use leasehold_types::{JobId, RegionName, SessionId, Timestamp, limits};

use super::in_flight::{Doubt, PendingGrant};
use super::leases::Ending;
use super::matching::{ClassId, Cursors};
use super::{Dispatcher, Gate, RECONCILE_EVERY, terms};
use crate::shard::command::{Command, Expire, ExpireReason, Grant, Purge, Release};
use crate::shard::job::AttemptRecord;
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

    fn room(&self) -> usize {
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

/// Grants.
impl Dispatcher {
    /// Goes round the classes of workers, one job each, so that no worker gets all of them.
    fn propose_grants(
        &mut self,
        state: &ShardState,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        now: Timestamp,
        poll: &mut Poll,
    ) {
        let mut cursors = Cursors::new();
        let mut round = self.matching.candidates();
        round.retain(|class| {
            let kind = self.matching.kind(*class);
            kind.is_some_and(|kind| !is_unreachable(&kind.region))
        });
        while poll.room() > 0
            && let Some(class) = round.pop_front()
        {
            if let Some(grant) = self.next_grant(state, class, &mut cursors, now) {
                poll.commands.push(Command::Grant(Box::new(grant)));
                round.push_back(class);
            }
        }
    }

    fn next_grant(
        &mut self,
        state: &ShardState,
        class: ClassId,
        cursors: &mut Cursors,
        now: Timestamp,
    ) -> Option<Grant> {
        let session = self.next_session(state, class, now)?;
        let Self {
            matching,
            in_flight,
            ..
        } = self;
        let is_free = |job: JobId| {
            let is_proposed = in_flight.is_granting(job);
            let header = state.header(job);
            !is_proposed && header.is_some_and(|header| header.expires_at > now)
        };
        let Some(job) = matching.pick(state, class, cursors, &is_free) else {
            matching.put_back(class, session);
            return None;
        };
        let session = self.prefer_another(state, class, session, job, now);
        let pending = PendingGrant {
            session,
            lane: state.lane_of(job)?,
            before: state.header(job)?.last_fence,
        };
        self.grant(job, pending)
    }

    /// The next session of the class that has credit and was heard within a lease. Others leave the queue: their next
    /// offer brings them back.
    fn next_session(
        &mut self,
        state: &ShardState,
        class: ClassId,
        now: Timestamp,
    ) -> Option<SessionId> {
        let lease = shortest_lease(self, state, class);
        while let Some(id) = self.matching.dequeue(class) {
            let Some(session) = self.sessions.get_mut(id) else {
                continue;
            };
            if session.class != class {
                continue;
            }
            let is_heard = now.since(session.heard_at) < lease;
            if is_heard && session.credit() > 0 {
                return Some(id);
            }
            session.is_queued = false;
        }
        None
    }

    /// A job that was tried before goes to another worker than the last time, if one of the class is next in line.
    fn prefer_another(
        &mut self,
        state: &ShardState,
        class: ClassId,
        session: SessionId,
        job: JobId,
        now: Timestamp,
    ) -> SessionId {
        let worker = |dispatcher: &Self, id| {
            let session = dispatcher.sessions.get(id);
            session.map(|session| session.worker.clone())
        };
        let last = last_attempt(state, job).map(|attempt| &attempt.worker);
        if last.is_none() || worker(self, session).as_ref() != last {
            return session;
        }
        match self.next_session(state, class, now) {
            Some(other) if worker(self, other).as_ref() != last => {
                self.matching.put_back(class, session);
                other
            }
            Some(other) => {
                self.matching.put_back(class, other);
                session
            }
            None => session,
        }
    }

    fn grant(&mut self, job: JobId, pending: PendingGrant) -> Option<Grant> {
        let id = pending.session;
        let session = self.sessions.get_mut(id)?;
        session.reserve();
        session.is_queued = false;
        let (worker, region) = (session.worker.clone(), session.region.clone());
        self.enqueue(id);
        self.in_flight.add_grant(job, pending);
        let session = id;
        Some(Grant {
            job,
            session,
            worker,
            region,
        })
    }
}

/// What was lost on the way.
impl Dispatcher {
    fn resolve_doubts(&mut self, state: &ShardState, now: Timestamp) {
        for doubt in self.in_flight.ripe(now) {
            match doubt {
                Doubt::Grant(job) => self.resolve_grant(state, job, now),
                Doubt::Ending(job, fence) => match state.held(job, fence) {
                    Ok(_) => self.leases.end_again(job, fence),
                    Err(_) => self.leases.unwatch_under(job, fence),
                },
                Doubt::Closing(job) => {
                    self.in_flight.closing.remove(&job);
                }
                Doubt::Note(job, fence) => self.leases.noted(job, fence, None, now),
            }
        }
    }

    /// A grant in doubt that was applied is handed back at once: its worker never heard of it.
    fn resolve_grant(&mut self, state: &ShardState, job: JobId, now: Timestamp) {
        let Some(pending) = self.in_flight.take_grant(job) else {
            return;
        };
        self.settle_credit(pending.session, false);
        self.reactivate(state, job);
        let Some(lease) = state.lease(job) else {
            return;
        };
        if Some(lease.fence) != pending.before && lease.session == pending.session {
            self.leases.watch_new(job, lease, now);
            self.leases.end(job, Ending::Return);
        }
    }

    pub(super) fn needs_reconciling(&self, state: &ShardState) -> bool {
        self.leases.len() != state.index.leased().len()
    }

    /// Watches every lease of the state. Only a grant that was applied after its outcome was lost can be missing.
    fn reconcile(&mut self, state: &ShardState, now: Timestamp) {
        if now < self.reconcile_at {
            return;
        }
        self.reconcile_at = now + RECONCILE_EVERY;
        if !self.needs_reconciling(state) {
            return;
        }
        for job in state.index.leased() {
            if let Some(lease) = state.lease(*job) {
                self.leases.watch_new(*job, lease, now);
            }
        }
        self.leases
            .retain(|job, fence| state.held(job, fence).is_ok());
    }
}

/// The shortest lease among the queues of a class: credit of a worker that was silent for so long is void.
fn shortest_lease(dispatcher: &Dispatcher, state: &ShardState, class: ClassId) -> Duration {
    let kind = dispatcher.matching.kind(class);
    let queues = kind.into_iter().flat_map(|kind| &kind.queues);
    let leases = queues.filter_map(|queue| state.policy(queue).map(|policy| policy.lease));
    leases.min().unwrap_or_default()
}

fn last_attempt(state: &ShardState, job: JobId) -> Option<&AttemptRecord> {
    state.jobs.get(job)?.body.history.last()
}
