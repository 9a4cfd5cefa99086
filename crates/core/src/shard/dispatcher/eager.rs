//! Eager grants: a job that a worker waits for is leased by the very entry that takes it in.
//!
//! Submit and grant in one entry cost one sync and one round of the log, where one after the other cost two of each. The
//! entry is applied in its order, so the grant finds the job ready; where the submit is refused, or repeats an earlier
//! one, the grant is refused as well and its slot is free again.
//!
//! What must hold: a job goes to a worker that may take it, and nobody that waits is passed over. So jobs are granted
//! eagerly only to workers that have nothing else to take, only while there is a slot for every job of their batch, and
//! only when no earlier batch on its way holds jobs of the queue that are still to be granted. All others wait for their
//! turn in [`Dispatcher::poll`]. What becomes ready while a batch is on its way (a retry, a job of another queue) may
//! lose a slot to that batch, and to none that is proposed afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leasehold_types::{QueueName, RegionName, Timestamp};

use super::granting::longest_lease;
use super::in_flight::PendingGrant;
use super::matching::ClassId;
use super::{Dispatcher, Gate};
use crate::shard::command::{Batch, Command, Grant, Submit};
use crate::shard::state::{Lane, ShardState};

/// The idle classes that may take from each lane, the next to be served first.
type Rounds = BTreeMap<Lane, VecDeque<ClassId>>;

impl Dispatcher {
    /// Adds grants of the jobs that a batch submits, at most `room` of them, behind everything else in it. To be called
    /// once for each batch, right before it is proposed, with the gate and the verdicts of its [`Dispatcher::poll`].
    ///
    /// The grants count as proposed until the batch is settled.
    pub fn grant_eagerly(
        &mut self,
        state: &ShardState,
        batch: &mut Batch,
        room: usize,
        gate: Gate,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
    ) {
        let submits: Vec<&Submit> = batch.commands.iter().filter_map(as_submit).collect();
        if submits.is_empty() {
            return;
        }
        let grants = match gate.is_open() && submits.len() <= room {
            true => self.eager_grants(state, &submits, is_unreachable, batch.stamp),
            false => Vec::new(),
        };
        let left = submits
            .iter()
            .filter(|s| !self.in_flight.is_granting(s.job));
        let left: BTreeSet<QueueName> = left.map(|submit| submit.queue.clone()).collect();
        self.in_flight.leave(batch.seed, left);
        let grants = grants
            .into_iter()
            .map(|grant| Command::Grant(Box::new(grant)));
        batch.commands.extend(grants);
    }

    /// A grant for each job that the submits bring, or none at all.
    fn eager_grants(
        &mut self,
        state: &ShardState,
        submits: &[&Submit],
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        now: Timestamp,
    ) -> Vec<Grant> {
        // First what costs nothing: while nobody waits, as over a long queue, no job is looked for.
        if !self.matching.has_waiting() {
            return Vec::new();
        }
        self.matching.catch_up(state);
        let ready = submits.iter().filter(|s| self.brings_a_ready_job(state, s));
        let ready: Option<Vec<_>> = ready.map(|s| Some((*s, lane(state, s)?))).collect();
        let Some(ready) = ready.filter(|ready| has_room(state, ready.len())) else {
            return Vec::new();
        };
        let Some(mut rounds) = self.rounds(state, &ready, is_unreachable, now) else {
            return Vec::new();
        };
        let mut grants = Vec::new();
        for (submit, lane) in ready {
            if let Some(round) = rounds.get_mut(&lane)
                && !self.in_flight.is_granting(submit.job)
            {
                grants.extend(self.eager_grant(state, submit, round, now));
            }
        }
        grants
    }

    /// Whether a submit is likely to bring a job, and one that is ready at once. What a refused submit would have been
    /// granted costs nothing but the attempt, so only the likely is looked at.
    fn brings_a_ready_job(&self, state: &ShardState, submit: &Submit) -> bool {
        let Some(policy) = state.policy(&submit.queue) else {
            return false;
        };
        let tenant = submit.tenant.as_ref().unwrap_or(&policy.tenant);
        let key = submit.key.as_ref();
        let is_repeat = state.digest_of(submit.job).is_some()
            || state.job_of_key(tenant, &submit.queue, key).is_some()
            || self.in_flight.is_granting(submit.job);
        !is_repeat && submit.delay.is_zero()
    }

    /// Who may take from each lane of these jobs; none unless each lane alone has slots for all of them, so that it does
    /// not matter which lane is served first.
    fn rounds(
        &self,
        state: &ShardState,
        ready: &[(&Submit, Lane)],
        is_unreachable: &dyn Fn(&RegionName) -> bool,
        now: Timestamp,
    ) -> Option<Rounds> {
        let mut rounds = Rounds::new();
        for (submit, lane) in ready {
            if self.in_flight.has_left(&submit.queue) {
                return None;
            }
            if rounds.contains_key(lane) {
                continue;
            }
            let round = self.idle_classes(lane, is_unreachable);
            if !self.have_slots(state, &round, ready.len(), now) {
                return None;
            }
            rounds.insert(lane.clone(), round);
        }
        Some(rounds)
    }

    /// The reachable classes with waiting workers that may take from a lane, and that have nothing else to take.
    fn idle_classes(
        &self,
        lane: &Lane,
        is_unreachable: &dyn Fn(&RegionName) -> bool,
    ) -> VecDeque<ClassId> {
        let is_reachable = |class: &ClassId| {
            let kind = self.matching.kind(*class);
            kind.is_some_and(|kind| !is_unreachable(&kind.region))
        };
        let idle = self.matching.idle_classes(lane);
        idle.filter(is_reachable).collect()
    }

    /// Whether the workers that wait in these classes have so many slots.
    fn have_slots(
        &self,
        state: &ShardState,
        classes: &VecDeque<ClassId>,
        wanted: usize,
        now: Timestamp,
    ) -> bool {
        let mut slots = 0_usize;
        for class in classes {
            let lease = longest_lease(self, state, *class);
            let waiting = self.matching.waiting(*class);
            let sessions = waiting.filter_map(|id| self.sessions.get(id));
            for session in sessions.filter(|session| now.since(session.heard_at) < lease) {
                slots =
                    slots.saturating_add(usize::try_from(session.credit()).unwrap_or(usize::MAX));
                if slots >= wanted {
                    return true;
                }
            }
        }
        false
    }

    fn eager_grant(
        &mut self,
        state: &ShardState,
        submit: &Submit,
        round: &mut VecDeque<ClassId>,
        now: Timestamp,
    ) -> Option<Grant> {
        while let Some(class) = round.pop_front() {
            if let Some(session) = self.next_session(state, class, now) {
                round.push_back(class);
                let lane = None;
                return self.grant(submit.job, PendingGrant { session, lane });
            }
        }
        None
    }
}

/// The lane that a job will be ready in; none when nobody asked the same of a worker for a while.
fn lane(state: &ShardState, submit: &Submit) -> Option<Lane> {
    Some(Lane {
        queue: submit.queue.clone(),
        pool: state.index.pools.find(&submit.requirement)?,
    })
}

/// Whether a shard takes so many more jobs in. In a full one every grant would be refused along with its submit.
fn has_room(state: &ShardState, jobs: usize) -> bool {
    let bounds = state.bounds;
    state.jobs.len() + jobs <= bounds.jobs && state.jobs.bytes() < bounds.bytes
}

const fn as_submit(command: &Command) -> Option<&Submit> {
    match command {
        Command::Submit(submit) => Some(submit),
        Command::LeaderStart(_)
        | Command::Grant(_)
        | Command::Contact(_)
        | Command::Complete(_)
        | Command::Fail(_)
        | Command::Expire(_)
        | Command::Release(_)
        | Command::Cancel(_)
        | Command::Redrive(_)
        | Command::Discard(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => None,
    }
}
