//! Which grants to propose: classes of workers in turn, and in each the session that has waited longest.

use std::time::Duration;

use leasehold_types::{JobId, RegionName, SessionId, Timestamp, WorkerName};

use super::in_flight::PendingGrant;
use super::matching::{ClassId, Cursors};
use super::{Dispatcher, Poll};
use crate::shard::command::{Command, Grant};
use crate::shard::job::JobHeader;
use crate::shard::state::ShardState;

impl Dispatcher {
    /// Goes round the classes of workers, one job each, so that no worker gets all of them.
    pub(super) fn propose_grants(
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
        // Once the last job is promised, the other classes need not be asked: there may be one for every worker.
        while poll.room() > 0
            && self.matching.has_work()
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
        let is_free =
            |header: &JobHeader| header.expires_at > now && !in_flight.is_granting(header.id);
        let Some(pick) = matching.pick(state, class, cursors, &is_free) else {
            self.put_back(class, session);
            return None;
        };
        let session = self.prefer_another(state, class, session, pick.sequence, now);
        let pending = PendingGrant {
            session,
            lane: Some(pick.lane),
        };
        self.grant(pick.job, pending)
    }

    /// The next session of the class that has credit and was heard within its longest lease. Others leave the queue: their next
    /// offer brings them back.
    pub(super) fn next_session(
        &mut self,
        state: &ShardState,
        class: ClassId,
        now: Timestamp,
    ) -> Option<SessionId> {
        let lease = longest_lease(self, state, class);
        while let Some(id) = self.matching.dequeue(class) {
            let Some(session) = self.sessions.get_mut(id) else {
                continue;
            };
            let is_heard = now.since(session.heard_at) < lease;
            if is_heard && session.credit() > 0 {
                return Some(id);
            }
            session.place = None;
        }
        None
    }

    /// A job that was tried before goes to another worker than the last time, if one of the class is next in line.
    fn prefer_another(
        &mut self,
        state: &ShardState,
        class: ClassId,
        session: SessionId,
        sequence: u64,
        now: Timestamp,
    ) -> SessionId {
        let worker = |dispatcher: &Self, id| {
            let session = dispatcher.sessions.get(id);
            session.map(|session| session.worker.clone())
        };
        let last = last_worker(state, sequence);
        if last.is_none() || worker(self, session).as_ref() != last {
            return session;
        }
        match self.next_session(state, class, now) {
            Some(other) if worker(self, other).as_ref() != last => {
                self.put_back(class, session);
                other
            }
            Some(other) => {
                self.put_back(class, other);
                session
            }
            None => session,
        }
    }

    /// A session that was next and is not served keeps its place.
    fn put_back(&mut self, class: ClassId, id: SessionId) {
        if let Some(place) = self.sessions.get(id).and_then(|session| session.place) {
            self.matching.put_back(class, place, id);
        }
    }

    pub(super) fn grant(&mut self, job: JobId, pending: PendingGrant) -> Option<Grant> {
        let id = pending.session;
        let session = self.sessions.get_mut(id)?;
        session.reserve();
        session.place = None;
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

/// The longest lease among the queues of a class: credit of a worker that was silent for so long is void. Not the
/// shortest: a worker of a queue with short leases and one with long ones may rightly be silent for longer than those.
pub(super) fn longest_lease(
    dispatcher: &Dispatcher,
    state: &ShardState,
    class: ClassId,
) -> Duration {
    let kind = dispatcher.matching.kind(class);
    let queues = kind.into_iter().flat_map(|kind| &kind.queues);
    let leases = queues.filter_map(|queue| state.policy(queue).map(|policy| policy.lease));
    leases.max().unwrap_or_default()
}

fn last_worker(state: &ShardState, sequence: u64) -> Option<&WorkerName> {
    let recent = state.jobs.at(sequence)?.header.recent.as_ref()?;
    Some(&recent.worker)
}
