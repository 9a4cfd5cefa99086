//! What a shard promises, said a second time and as plainly as can be: no indexes, no fairness, no bounds on memory.
//!
//! The model predicts the kind of every outcome and the state of every job. Where the shard may choose (how long a
//! backoff is), the model takes its choice and checks that it is within bounds.

use std::collections::BTreeMap;

use leasehold_types::{Digest, FenceToken, Incarnation, JobId, ShardEpoch, Timestamp};

use crate::policy::QueuePolicy;
use crate::shard::command::{
    Batch, Command, Expire, ExpireReason, FailureClass, Release, ReleaseCause, Submit,
};
use crate::shard::job::Tries;
use crate::shard::outcome::{Next, Outcome, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Waiting(Timestamp),
    Ready,
    Leased(FenceToken),
    Done(FenceToken, Digest),
    Cancelled,
    Dead,
}

#[derive(Debug, Clone)]
pub(super) struct ModelJob {
    pub(super) life: Life,
    digest: Digest,
    deadline: Timestamp,
    pub(super) tries: Tries,
    /// Stamp of its end.
    ended: Option<Timestamp>,
}

/// What is left of a job that is gone.
#[derive(Debug, Clone)]
struct Memory {
    digest: Digest,
    forget_at: Timestamp,
}

/// The kind of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Led,
    Submitted { job: JobId, repeated: bool },
    Granted(FenceToken),
    Contacted,
    Completed { repeated: bool },
    Again,
    Dead,
    Cancelled { repeated: bool },
    Redriven,
    Discarded,
    Purged { jobs: usize, keys: usize },
    Other,
    WrongEpoch,
    Unknown,
    OtherPayload,
    OtherKey,
    NoLongerKept,
    Stale,
    WrongState,
    TooManyReleases,
    TooManyRedrives,
}

/// A shard with one queue.
#[derive(Debug, Clone)]
pub(super) struct Model {
    policy: QueuePolicy,
    epoch: ShardEpoch,
    granted: u64,
    stamp: Timestamp,
    pub(super) jobs: BTreeMap<JobId, ModelJob>,
    keys: BTreeMap<String, JobId>,
    remembered: BTreeMap<JobId, Memory>,
}

impl Model {
    pub(super) fn new(policy: QueuePolicy) -> Self {
        Self {
            policy,
            epoch: ShardEpoch::ZERO,
            granted: 0,
            stamp: Timestamp::ZERO,
            jobs: BTreeMap::new(),
            keys: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    /// Goes through a batch and panics where the outcomes are not those that were promised.
    pub(super) fn follow(&mut self, batch: &Batch, outcomes: &[Outcome]) {
        if batch.epoch == self.epoch {
            self.stamp = self.stamp.max(batch.stamp);
            self.wake();
        }
        assert_eq!(batch.commands.len(), outcomes.len());
        for (command, outcome) in batch.commands.iter().zip(outcomes) {
            let promised = self.step(batch.epoch, command, outcome);
            assert_eq!(
                kind(outcome),
                promised,
                "{command:?}\nof {batch:#?}\n{self:#?}"
            );
            self.note_ends();
        }
    }

    fn note_ends(&mut self) {
        for job in self.jobs.values_mut() {
            job.ended = match job.life {
                Life::Done(..) | Life::Cancelled | Life::Dead => job.ended.or(Some(self.stamp)),
                Life::Waiting(_) | Life::Ready | Life::Leased(_) => None,
            };
        }
    }

    fn wake(&mut self) {
        let now = self.stamp;
        for job in self.jobs.values_mut() {
            if matches!(job.life, Life::Waiting(due) if due <= now) {
                job.life = Life::Ready;
            }
        }
    }

    fn step(&mut self, epoch: ShardEpoch, command: &Command, outcome: &Outcome) -> Kind {
        if epoch != self.epoch {
            return Kind::WrongEpoch;
        }
        match command {
            Command::LeaderStart(start) if start.previous == self.epoch => {
                self.epoch = self.epoch.next();
                self.granted = 0;
                Kind::Led
            }
            Command::LeaderStart(_) => Kind::WrongEpoch,
            Command::Submit(submit) => self.submit(submit),
            Command::Grant(grant) => self.grant(grant.job),
            Command::Contact(contact) => match self.holds(contact.job, contact.fence) {
                true => Kind::Contacted,
                false => Kind::Stale,
            },
            Command::Complete(write) => self.complete(write.job, write.fence, write.digest),
            Command::Fail(fail) => match self.holds(fail.job, fail.fence) {
                true => self.end_attempt(fail.job, fail.class, outcome),
                false => Kind::Stale,
            },
            Command::Expire(expire) => self.expire(expire, outcome),
            Command::Release(release) => self.release(release),
            Command::Cancel(cancel) => self.cancel(cancel.job),
            Command::Redrive(redrive) => self.redrive(redrive.job),
            Command::Discard(discard) => self.discard(discard.job),
            Command::Purge(_) => self.purge(),
            Command::PutPolicy(_) => Kind::Other,
        }
    }

    fn holds(&self, job: JobId, fence: FenceToken) -> bool {
        (self.jobs.get(&job)).is_some_and(|job| job.life == Life::Leased(fence))
    }

    fn absent(&self, job: JobId) -> Kind {
        match self.remembered.contains_key(&job) {
            true => Kind::NoLongerKept,
            false => Kind::Unknown,
        }
    }

    fn submit(&mut self, submit: &Submit) -> Kind {
        let key = submit.key.as_ref().map(ToString::to_string);
        let is_known =
            self.jobs.contains_key(&submit.job) || self.remembered.contains_key(&submit.job);
        let by_key = key.as_ref().and_then(|key| self.keys.get(key)).copied();
        let first = if is_known { Some(submit.job) } else { by_key };
        if let Some(first) = first {
            let mut own = self.keys.iter().filter(|(_, job)| **job == first);
            let is_own = key.is_none() || own.next().map(|(own, _)| own) == key.as_ref();
            let kind = self.submitted_before(first, submit.digest);
            let is_other_key = !is_own && kind != Kind::OtherPayload;
            return if is_other_key { Kind::OtherKey } else { kind };
        }
        let life = match submit.delay.is_zero() {
            true => Life::Ready,
            false => Life::Waiting(self.stamp + submit.delay),
        };
        let deadline = self.stamp + submit.deadline.unwrap_or(self.policy.job_deadline);
        let job = ModelJob {
            life,
            digest: submit.digest,
            deadline,
            tries: Tries::default(),
            ended: None,
        };
        self.jobs.insert(submit.job, job);
        key.map(|key| self.keys.insert(key, submit.job));
        let (job, repeated) = (submit.job, false);
        Kind::Submitted { job, repeated }
    }

    fn submitted_before(&self, job: JobId, digest: Digest) -> Kind {
        let held = self.jobs.get(&job);
        let known = held.map(|job| job.digest);
        let known = known.or_else(|| Some(self.remembered.get(&job)?.digest));
        match (known == Some(digest), held.is_some()) {
            (false, _) => Kind::OtherPayload,
            (true, true) => Kind::Submitted {
                job,
                repeated: true,
            },
            (true, false) => Kind::NoLongerKept,
        }
    }

    fn grant(&mut self, id: JobId) -> Kind {
        let (stamp, absent) = (self.stamp, self.absent(id));
        let Some(job) = self.jobs.get_mut(&id) else {
            return absent;
        };
        if job.life != Life::Ready || job.deadline <= stamp {
            return Kind::WrongState;
        }
        self.granted += 1;
        job.tries.granted += 1;
        let fence = FenceToken::new(Incarnation::default(), self.epoch, self.granted);
        job.life = Life::Leased(fence);
        Kind::Granted(fence)
    }

    fn complete(&mut self, id: JobId, fence: FenceToken, digest: Digest) -> Kind {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Kind::Stale;
        };
        if job.life == Life::Done(fence, digest) {
            return Kind::Completed { repeated: true };
        }
        if job.life != Life::Leased(fence) {
            return Kind::Stale;
        }
        job.life = Life::Done(fence, digest);
        Kind::Completed { repeated: false }
    }

    fn expire(&mut self, expire: &Expire, outcome: &Outcome) -> Kind {
        let (stamp, absent) = (self.stamp, self.absent(expire.job));
        match (expire.fence, self.jobs.get(&expire.job)) {
            (Some(fence), _) if !self.holds(expire.job, fence) => return Kind::Stale,
            (None, None) => return absent,
            (None, Some(job)) if !matches!(job.life, Life::Waiting(_) | Life::Ready) => {
                return Kind::WrongState;
            }
            (None, Some(_)) if expire.reason != ExpireReason::Deadline => return Kind::WrongState,
            (Some(_) | None, _) => {}
        }
        let Some(job) = self.jobs.get_mut(&expire.job) else {
            return absent;
        };
        match expire.reason {
            ExpireReason::Deadline if job.deadline > stamp => Kind::WrongState,
            ExpireReason::Deadline => {
                job.life = Life::Dead;
                Kind::Dead
            }
            ExpireReason::Silent | ExpireReason::Stalled | ExpireReason::AttemptLimit => {
                self.end_attempt(expire.job, FailureClass::Lost, outcome)
            }
            ExpireReason::Verdict => {
                self.end_attempt(expire.job, FailureClass::Infrastructure, outcome)
            }
        }
    }

    /// Counts against the right bound; how long the job waits is the shard's choice.
    fn end_attempt(&mut self, id: JobId, class: FailureClass, outcome: &Outcome) -> Kind {
        let (stamp, policy) = (self.stamp, self.policy.clone());
        let Some(job) = self.jobs.get_mut(&id) else {
            return Kind::Unknown;
        };
        let tries = &mut job.tries;
        let is_over = match class {
            FailureClass::Transient | FailureClass::Semantic => {
                tries.failed += 1;
                tries.failed == policy.max_attempts
            }
            FailureClass::Lost => {
                tries.lost += 1;
                tries.lost == policy.max_losses
            }
            FailureClass::Infrastructure => {
                tries.infrastructure += 1;
                tries.infrastructure == 10
            }
            FailureClass::Permanent
            | FailureClass::Policy
            | FailureClass::ContextOverflow
            | FailureClass::Poison
            | FailureClass::Budget => {
                tries.failed += 1;
                true
            }
        };
        job.life = Life::Ready;
        if let Outcome::AttemptEnded(Next::Waiting { due }) = outcome {
            let latest = stamp + policy.backoff.cap;
            assert!((stamp..=latest).contains(due), "waits until {due}");
            job.life = Life::Waiting(*due);
        }
        if is_over {
            job.life = Life::Dead;
            return Kind::Dead;
        }
        Kind::Again
    }

    fn release(&mut self, release: &Release) -> Kind {
        if !self.holds(release.job, release.fence) {
            return Kind::Stale;
        }
        let Some(job) = self.jobs.get_mut(&release.job) else {
            return Kind::Stale;
        };
        if release.cause == ReleaseCause::Undelivered {
            job.life = Life::Ready;
            return Kind::Again;
        }
        if job.tries.released == 10 {
            return Kind::TooManyReleases;
        }
        job.tries.released += 1;
        job.life = Life::Ready;
        Kind::Again
    }

    fn cancel(&mut self, id: JobId) -> Kind {
        let absent = self.absent(id);
        let Some(job) = self.jobs.get_mut(&id) else {
            return absent;
        };
        match job.life {
            Life::Cancelled => Kind::Cancelled { repeated: true },
            Life::Done(..) | Life::Dead => Kind::WrongState,
            Life::Waiting(_) | Life::Ready | Life::Leased(_) => {
                job.life = Life::Cancelled;
                Kind::Cancelled { repeated: false }
            }
        }
    }

    fn redrive(&mut self, id: JobId) -> Kind {
        let absent = self.absent(id);
        let deadline = self.stamp + self.policy.job_deadline;
        let Some(job) = self.jobs.get_mut(&id) else {
            return absent;
        };
        if job.life != Life::Dead {
            return Kind::WrongState;
        }
        if job.tries.redriven == 20 {
            return Kind::TooManyRedrives;
        }
        job.life = Life::Ready;
        job.deadline = deadline;
        job.tries = Tries {
            granted: job.tries.granted,
            redriven: job.tries.redriven + 1,
            ..Tries::default()
        };
        Kind::Redriven
    }

    fn discard(&mut self, id: JobId) -> Kind {
        match self.jobs.get(&id) {
            None => self.absent(id),
            Some(job) if job.life != Life::Dead => Kind::WrongState,
            Some(_) => {
                self.let_go(id);
                Kind::Discarded
            }
        }
    }

    /// Removes an ended job, and remembers it as long as its queue says.
    fn let_go(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let ended = job.ended.expect("only jobs that have ended go");
        let forget_at = ended + self.policy.retain_keys;
        let digest = job.digest;
        self.remembered.insert(id, Memory { digest, forget_at });
        if forget_at <= self.stamp {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: JobId) {
        self.remembered.remove(&id);
        self.keys.retain(|_, job| *job != id);
    }

    fn purge(&mut self) -> Kind {
        let now = self.stamp;
        let is_overdue = |job: &ModelJob| {
            let retain = match job.life {
                Life::Done(..) => self.policy.retain_done,
                Life::Cancelled | Life::Dead | Life::Waiting(_) | Life::Ready | Life::Leased(_) => {
                    self.policy.retain_failed
                }
            };
            job.ended.is_some_and(|ended| ended + retain <= now)
        };
        let overdue = self.jobs.iter().filter(|(_, job)| is_overdue(job));
        let overdue: Vec<JobId> = overdue.map(|(id, _)| *id).collect();
        overdue.iter().for_each(|id| self.let_go(*id));
        let due = self.remembered.iter().filter(|(_, m)| m.forget_at <= now);
        let due: Vec<JobId> = due.map(|(id, _)| *id).collect();
        due.iter().for_each(|id| self.forget(*id));
        let (jobs, keys) = (overdue.len(), due.len());
        Kind::Purged { jobs, keys }
    }
}

fn kind(outcome: &Outcome) -> Kind {
    match outcome {
        Outcome::Led(_) => Kind::Led,
        Outcome::Submitted(submitted) => Kind::Submitted {
            job: submitted.job,
            repeated: submitted.repeated,
        },
        Outcome::Granted(granted) => Kind::Granted(granted.fence),
        Outcome::Contacted => Kind::Contacted,
        Outcome::Completed { repeated } => Kind::Completed {
            repeated: *repeated,
        },
        Outcome::AttemptEnded(Next::Dead(_)) => Kind::Dead,
        Outcome::AttemptEnded(Next::Ready | Next::Waiting { .. }) => Kind::Again,
        Outcome::Cancelled { repeated } => Kind::Cancelled {
            repeated: *repeated,
        },
        Outcome::Redriven => Kind::Redriven,
        Outcome::Discarded => Kind::Discarded,
        Outcome::Purged { jobs, keys, more } => {
            assert!(!more, "what is due fits one purge");
            let count = |number: u32| usize::try_from(number).unwrap();
            let (jobs, keys) = (count(*jobs), count(*keys));
            Kind::Purged { jobs, keys }
        }
        Outcome::PolicyPut => Kind::Other,
        Outcome::Refused(refusal) => refusal_kind(refusal),
    }
}

fn refusal_kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Epoch { .. } => Kind::WrongEpoch,
        Refusal::UnknownJob(_) => Kind::Unknown,
        Refusal::OtherPayload(_) => Kind::OtherPayload,
        Refusal::OtherKey(_) => Kind::OtherKey,
        Refusal::NoLongerKept(_) => Kind::NoLongerKept,
        Refusal::StaleFence { .. } => Kind::Stale,
        Refusal::WrongState { .. } => Kind::WrongState,
        Refusal::TooManyReleases { .. } => Kind::TooManyReleases,
        Refusal::TooManyRedrives { .. } => Kind::TooManyRedrives,
        Refusal::UnknownQueue(_) | Refusal::Full { .. } | Refusal::Invalid(_) => {
            panic!("a bound of the shard was reached: {refusal}")
        }
    }
}
