//! What came of a batch: jobs to send to their workers, leases to watch and to let go of.

use leasehold_types::{FenceToken, JobId, SessionId, Timestamp};

use super::Dispatcher;
use super::in_flight::PendingGrant;
use super::message::{Assignment, StoredPayload};
use super::watch::Ending;
use crate::shard::command::{Batch, Command};
use crate::shard::job::{Job, JobHeader, Lease};
use crate::shard::outcome::{Applied, Change, Granted, Outcome};
use crate::shard::state::ShardState;

impl Dispatcher {
    /// Takes note of what came of a batch that this leadership proposed, and gives the jobs to send. `Ok`: the batch
    /// was applied to `state`, which may have gone on since. `Err`: whether it is or will be in the log is not known;
    /// what it would have done is compared with the state later, and proposed again where it was not done.
    ///
    /// A job whose worker is gone by now is handed back.
    pub fn settle(
        &mut self,
        state: &ShardState,
        batch: &Batch,
        result: Result<&Applied, ()>,
        now: Timestamp,
    ) -> Vec<Assignment> {
        self.in_flight.landed(batch.seed);
        let Ok(applied) = result else {
            self.in_flight.doubt(batch, now);
            self.distrust(now);
            return Vec::new();
        };
        self.in_flight.tick.finish();
        self.follow(state, &applied.changes, now);
        let mut assignments = Vec::new();
        for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            let assignment = self.settle_one(state, command, outcome, now);
            assignments.extend(assignment);
        }
        assignments
    }

    /// Watches the leases that began and lets go of those that ended, whoever's command did it.
    fn follow(&mut self, state: &ShardState, changes: &[Change], now: Timestamp) {
        for change in changes {
            match change {
                Change::Leased { job, fence } => {
                    if let Some(lease) = state.lease(*job).filter(|l| l.fence == *fence) {
                        self.leases.watch_new(*job, lease, now);
                    }
                }
                Change::LeaseEnded { job, fence, .. } => self.leases.unwatch_under(*job, *fence),
                Change::Finished(_) | Change::Ready(_) => {}
            }
        }
    }

    fn settle_one(
        &mut self,
        state: &ShardState,
        command: &Command,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<Assignment> {
        match command {
            Command::Grant(grant) => return self.settle_grant(state, grant.job, outcome, now),
            Command::Expire(expire) => match expire.fence {
                Some(fence) => {
                    let is_this = |ending| matches!(ending, Ending::Expire(_));
                    self.settle_ending(state, (expire.job, fence), outcome, is_this, now);
                }
                None => {
                    self.in_flight.closing.remove(&expire.job);
                }
            },
            Command::Release(release) => {
                let is_this = |ending| ending == Ending::Return;
                let lease = (release.job, release.fence);
                self.settle_ending(state, lease, outcome, is_this, now);
            }
            Command::Contact(contact) => {
                let at = matches!(outcome, Outcome::Contacted).then_some(state.stamp());
                self.leases.noted(contact.job, contact.fence, at, now);
            }
            Command::Purge(_) => self.in_flight.purge.finish(),
            Command::LeaderStart(_)
            | Command::Submit(_)
            | Command::Complete(_)
            | Command::Fail(_)
            | Command::Cancel(_)
            | Command::Redrive(_)
            | Command::Discard(_)
            | Command::PutPolicy(_) => {}
        }
        None
    }

    fn settle_grant(
        &mut self,
        state: &ShardState,
        job: JobId,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<Assignment> {
        let pending = self.in_flight.take_grant(job)?;
        self.reactivate(state, job);
        let held = state.jobs.get(job);
        let granted = as_granted(outcome);
        if granted.is_none() {
            // Refused, perhaps because an earlier grant of the job was applied after all.
            self.hand_back_unheard(state, job, now);
        }
        // A lease that has ended since, by a cancel for one, is sent to nobody and costs no slot.
        let lease = granted.and_then(|g| held?.header.lease().filter(|l| l.fence == g.fence));
        let is_fit = held.is_some_and(|job| self.fits(&pending, &job.header));
        let number = self.settle_credit(pending.session, lease.is_some() && is_fit);
        let (granted, held, lease) = (granted?, held?, lease?);
        let Some(number) = number.filter(|_| is_fit) else {
            self.leases.end(job, Ending::Return);
            return None;
        };
        self.assignment(state, (granted, held, lease), number, now)
    }

    /// SUBTLE: an eager grant was made for what its own submit said. Where an earlier submit of the same id, with another
    /// queue or requirement, was applied after all, the job is that one's, and its worker may not be one to take it.
    fn fits(&self, pending: &PendingGrant, job: &JobHeader) -> bool {
        let class = self
            .sessions
            .get(pending.session)
            .map(|session| session.class);
        pending.lane.is_some() || class.is_none_or(|class| self.matching.may_take(class, job))
    }

    /// Gives back or spends what a grant had reserved; gives the grant's number while the session is known.
    pub(super) fn settle_credit(&mut self, id: SessionId, is_granted: bool) -> Option<u64> {
        let session = self.sessions.get_mut(id)?;
        let number = session.resolve(is_granted);
        self.enqueue(id);
        Some(number)
    }

    fn assignment(
        &self,
        state: &ShardState,
        (granted, job, lease): (&Granted, &Job, &Lease),
        number: u64,
        now: Timestamp,
    ) -> Option<Assignment> {
        let policy = state.policy(&job.header.queue)?;
        let session = self.sessions.get(lease.session)?;
        Some(Assignment {
            job: granted.job,
            queue: job.header.queue.clone(),
            fence: granted.fence,
            attempt: granted.attempt,
            session: lease.session,
            gateway: session.gateway,
            payload: job.body().payload.clone().unwrap_or_default(),
            stored: stored_payload(state, job),
            lease: granted.lease,
            attempt_limit: policy.attempt_limit,
            remaining: job.header.expires_at.since(now),
            message: session.message,
            grant: number,
        })
    }

    /// An end of a lease that was refused although the lease is current is taken back: the leader was too early, or
    /// the job was handed back too often. The lease runs out in its own time.
    fn settle_ending(
        &mut self,
        state: &ShardState,
        (job, fence): (JobId, FenceToken),
        outcome: &Outcome,
        is_this: impl Fn(Ending) -> bool,
        now: Timestamp,
    ) {
        let is_refused = matches!(outcome, Outcome::Refused(_));
        if is_refused && state.held(job, fence).is_ok() {
            self.leases.carry_on(job, fence, is_this, now);
        } else {
            self.leases.unwatch_under(job, fence);
        }
    }

    /// While its grant was under way the job's tenant may have been left without a free job in the lane.
    pub(super) fn reactivate(&mut self, state: &ShardState, job: JobId) {
        let Some((lane, tenant)) = state.course_of(job) else {
            return;
        };
        let mut ready = state.index.ready.after(&lane, tenant, None);
        if ready.next().is_some() {
            drop(ready);
            self.matching.activate(state, &lane, tenant);
        }
    }
}

fn stored_payload(state: &ShardState, job: &Job) -> Option<StoredPayload> {
    let (sequence, length) = (job.header.sequence, job.stored().payload?);
    Some(StoredPayload {
        sequence,
        bundle: state.jobs.rows(sequence).payload?,
        bytes: length.get(),
    })
}

const fn as_granted(outcome: &Outcome) -> Option<&Granted> {
    match outcome {
        Outcome::Granted(granted) => Some(granted),
        Outcome::Led(_)
        | Outcome::Submitted(_)
        | Outcome::Contacted
        | Outcome::Completed { .. }
        | Outcome::AttemptEnded(_)
        | Outcome::Cancelled { .. }
        | Outcome::Redriven
        | Outcome::Discarded
        | Outcome::Purged { .. }
        | Outcome::PolicyPut
        | Outcome::Refused(_) => None,
    }
}
