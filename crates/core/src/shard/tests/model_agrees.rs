//! Random commands, sensible and not, under right and wrong epochs and fences: the shard does what the model says,
//! every invariant holds, and a replica restored from a snapshot anywhere on the way answers like all others.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{BootCount, FenceToken, IdempotencyKey, Incarnation, NodeId, ShardEpoch};
use proptest::prelude::*;

use super::fixture::{SECOND, bytes_of, digest, grant, job, queue, submit};
use super::invariants::Invariants;
use super::model::{Life, Model};
use crate::policy::QueuePolicy;
use crate::shard::command::{
    Batch, Cancel, Command, Complete, Contact, Discard, Expire, ExpireReason, Fail, FailureClass,
    LeaderStart, Purge, PutPolicy, Redrive, Release, ReleaseCause, Submit, WorkPhase,
};
use crate::shard::job::JobState;
use crate::shard::outcome::Applied;
use crate::shard::state::ShardState;

/// Which fence a write is made under.
#[derive(Debug, Clone, Copy)]
enum Under {
    /// The newest of the job, current or not.
    Newest,
    /// One of all that were ever granted.
    Any(usize),
}

/// What is proposed, before ids, fences and stamps are filled in.
#[derive(Debug, Clone)]
enum Op {
    Submit(u8, Option<u8>, u8, u64),
    Grant(u8),
    Contact(u8, Under),
    Complete(u8, Under, u8),
    Fail(u8, Under, FailureClass),
    Expire(u8, Option<Under>, ExpireReason),
    Release(u8, Under, ReleaseCause),
    Cancel(u8),
    Redrive(u8),
    Discard(u8),
    Purge,
    /// Another leader begins.
    TakeOver,
    /// A leader begins that does not know of the newest one.
    TakeOverLate,
}

const JOBS: u8 = 5;

fn under() -> impl Strategy<Value = Under> {
    prop_oneof![4 => Just(Under::Newest), 1 => (0_usize..64).prop_map(Under::Any)]
}

fn class() -> impl Strategy<Value = FailureClass> {
    prop_oneof![
        4 => Just(FailureClass::Transient),
        1 => Just(FailureClass::Permanent),
        1 => Just(FailureClass::Infrastructure),
        1 => Just(FailureClass::Semantic),
    ]
}

fn reason() -> impl Strategy<Value = ExpireReason> {
    prop_oneof![
        Just(ExpireReason::Silent),
        Just(ExpireReason::Stalled),
        Just(ExpireReason::AttemptLimit),
        Just(ExpireReason::Verdict),
        Just(ExpireReason::Deadline),
    ]
}

fn cause() -> impl Strategy<Value = ReleaseCause> {
    prop_oneof![Just(ReleaseCause::Worker), Just(ReleaseCause::Undelivered)]
}

fn op(jobs: u8) -> impl Strategy<Value = Op> {
    let job = 0..jobs;
    prop_oneof![
        4 => (job.clone(), prop::option::of(0_u8..3), 0_u8..8, 0_u64..4)
            .prop_map(|(job, key, content, delay)| Op::Submit(job, key, content, delay)),
        8 => job.clone().prop_map(Op::Grant),
        1 => (job.clone(), under()).prop_map(|(job, under)| Op::Contact(job, under)),
        2 => (job.clone(), under(), 0_u8..2).prop_map(|(job, under, c)| Op::Complete(job, under, c)),
        3 => (job.clone(), under(), class()).prop_map(|(job, under, c)| Op::Fail(job, under, c)),
        3 => (job.clone(), prop::option::weighted(0.8, under()), reason())
            .prop_map(|(job, under, reason)| Op::Expire(job, under, reason)),
        3 => (job.clone(), under(), cause())
            .prop_map(|(job, under, cause)| Op::Release(job, under, cause)),
        1 => job.clone().prop_map(Op::Cancel),
        2 => job.clone().prop_map(Op::Redrive),
        1 => job.prop_map(Op::Discard),
        2 => Just(Op::Purge),
        1 => Just(Op::TakeOver),
        1 => Just(Op::TakeOverLate),
    ]
}

/// One entry: some of them are of a leader that is no longer one.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    ops: Vec<Op>,
    passed: Duration,
    is_late: bool,
    pub(super) seed: u64,
}

/// An entry about so many jobs.
pub(super) fn entry(jobs: u8) -> impl Strategy<Value = Entry> {
    let ops = prop::collection::vec(op(jobs), 0..6);
    let is_late = prop::bool::weighted(0.05);
    (ops, 0_u64..20_000, is_late, any::<u64>()).prop_map(|(ops, passed, is_late, seed)| Entry {
        ops,
        passed: Duration::from_millis(passed),
        is_late,
        seed,
    })
}

/// Short enough for deadlines to pass within a history.
fn policy() -> QueuePolicy {
    QueuePolicy {
        job_deadline: Duration::from_secs(120),
        ..QueuePolicy::default()
    }
}

/// Short enough for jobs to be purged within a history, and some of them to be forgotten with that.
fn forgetful() -> QueuePolicy {
    QueuePolicy {
        retain_done: SECOND,
        retain_failed: 5 * SECOND,
        retain_keys: 3 * SECOND,
        ..policy()
    }
}

pub(super) struct Shard {
    pub(super) state: ShardState,
    /// Restored from the parts of the other after every entry before.
    restored: ShardState,
    model: Model,
    /// None for a shard that forgets ids and keys: an id that comes back is then another job.
    invariants: Option<Invariants>,
    fences: Vec<FenceToken>,
}

impl Shard {
    fn new() -> Self {
        Self {
            invariants: Some(Invariants::default()),
            ..Self::with_policy(policy())
        }
    }

    /// A shard whose jobs are purged and forgotten within seconds.
    pub(super) fn forgetful() -> Self {
        Self::with_policy(forgetful())
    }

    fn with_policy(policy: QueuePolicy) -> Self {
        let state = ShardState::new(Incarnation::default());
        let mut shard = Self {
            restored: state.clone(),
            state,
            model: Model::new(policy.clone()),
            invariants: None,
            fences: vec![FenceToken::default()],
        };
        let put = PutPolicy {
            queue: queue(),
            policy,
            index: 1,
        };
        let put = Command::PutPolicy(Box::new(put));
        shard.apply(shard.batch(vec![put], Duration::ZERO, 0));
        shard
    }

    fn batch(&self, commands: Vec<Command>, passed: Duration, seed: u64) -> Batch {
        Batch {
            epoch: self.state.epoch(),
            stamp: self.state.stamp() + passed,
            seed,
            commands,
        }
    }

    fn apply(&mut self, batch: Batch) -> Applied {
        let applied = self.state.apply(&batch);
        assert_eq!(self.restored.apply(&batch), applied);
        assert_eq!(self.restored, self.state);
        assert!(self.state.indexes_are_true());
        self.restored = self.state.rebuilt();
        self.model.follow(&batch, &applied.outcomes);
        if let Some(invariants) = &mut self.invariants {
            invariants.observe(&batch, &applied, &self.state);
        }
        self.compare();
        let fences = self.state.jobs().filter_map(|job| job.header.last_fence);
        self.fences.extend(fences);
        applied
    }

    fn compare(&self) {
        let mut ids: Vec<_> = self.state.jobs().map(|job| job.header.id).collect();
        ids.sort();
        assert!(self.model.jobs.keys().eq(&ids));
        for job in self.state.jobs() {
            let model = &self.model.jobs[&job.header.id];
            assert_eq!(life(&job.header.state), model.life, "{:?}", job.header);
            assert_eq!(job.header.tries, model.tries);
        }
    }

    /// Carries the entry out, and gives it with what came of it.
    pub(super) fn enter(&mut self, entry: &Entry) -> (Batch, Applied) {
        let commands = entry.ops.iter().map(|op| self.command(op)).collect();
        let mut batch = self.batch(commands, entry.passed, entry.seed);
        if entry.is_late {
            batch.epoch = ShardEpoch::new(batch.epoch.get().saturating_sub(1));
        }
        (batch.clone(), self.apply(batch))
    }

    fn fence(&self, number: u8, under: Under) -> FenceToken {
        let newest = self.state.header(job(number)).and_then(|h| h.last_fence);
        match under {
            Under::Newest => newest.unwrap_or_default(),
            Under::Any(index) => self.fences[index % self.fences.len()],
        }
    }

    fn command(&self, op: &Op) -> Command {
        let no_reason = String::new();
        match *op {
            Op::Submit(number, key, content, delay) => {
                Command::Submit(Box::new(submit_of(number, key, content, delay)))
            }
            Op::Grant(number) => Command::Grant(Box::new(grant(number))),
            Op::Contact(number, under) => Command::Contact(Contact {
                job: job(number),
                fence: self.fence(number, under),
                progress: 1,
                progressed_at: self.state.stamp(),
                phase: WorkPhase::Running,
            }),
            Op::Complete(number, under, content) => Command::Complete(Complete {
                job: job(number),
                fence: self.fence(number, under),
                result: bytes_of(content),
                digest: digest(content),
            }),
            Op::Fail(number, under, class) => Command::Fail(Box::new(Fail {
                job: job(number),
                fence: self.fence(number, under),
                class,
                message: no_reason,
                detail: Bytes::new(),
                retry_after: None,
            })),
            Op::Expire(number, under, reason) => Command::Expire(Expire {
                job: job(number),
                fence: under.map(|under| self.fence(number, under)),
                reason,
            }),
            Op::Release(number, under, cause) => Command::Release(Release {
                job: job(number),
                fence: self.fence(number, under),
                reason: no_reason,
                cause,
            }),
            Op::Cancel(number) => Command::Cancel(Cancel {
                job: job(number),
                reason: no_reason,
            }),
            Op::Redrive(number) => Command::Redrive(Redrive { job: job(number) }),
            Op::Discard(number) => Command::Discard(Discard { job: job(number) }),
            Op::Purge => Command::Purge(Purge { limit: 1_000 }),
            Op::TakeOver => leader_start(self.state.epoch()),
            Op::TakeOverLate => {
                leader_start(ShardEpoch::new(self.state.epoch().get().saturating_sub(1)))
            }
        }
    }
}

/// The content is the job's own most of the time, so that repeats are more often right than wrong.
fn submit_of(number: u8, key: Option<u8>, content: u8, delay: u64) -> Submit {
    let key = key.map(|key| IdempotencyKey::new(&format!("k{key}")).unwrap());
    let digest = digest(if content == 0 { 99 } else { number / 2 });
    Submit {
        key,
        digest,
        delay: Duration::from_secs(delay / 3 * 10),
        payload: bytes_of(number),
        ..submit(number)
    }
}

fn leader_start(previous: ShardEpoch) -> Command {
    Command::LeaderStart(LeaderStart {
        previous,
        node: NodeId::new(1),
        boot: BootCount::new(1),
    })
}

fn life(state: &JobState) -> Life {
    match state {
        JobState::Waiting { due } => Life::Waiting(*due),
        JobState::Ready => Life::Ready,
        JobState::Leased(lease) => Life::Leased(lease.fence),
        JobState::Done(done) => Life::Done(done.fence, done.digest),
        JobState::Cancelled { .. } => Life::Cancelled,
        JobState::Dead { .. } => Life::Dead,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shard_does_what_the_model_says(entries in prop::collection::vec(entry(JOBS), 1..60)) {
        let mut shard = Shard::new();
        entries.iter().for_each(|entry| drop(shard.enter(entry)));
    }

    #[test]
    fn shard_that_soon_forgets_does_what_the_model_says(
        entries in prop::collection::vec(entry(JOBS), 1..60),
    ) {
        let mut shard = Shard::forgetful();
        entries.iter().for_each(|entry| drop(shard.enter(entry)));
    }
}
