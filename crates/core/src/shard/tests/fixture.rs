//! One shard, driven by hand.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{
    BootCount, Digest, FenceToken, Incarnation, JobId, NodeId, QueueName, RegionName, SessionId,
    ShardEpoch, TenantName, Timestamp, VirtualShard, WorkerName,
};

use crate::policy::QueuePolicy;
use crate::requirement::Requirement;
use crate::shard::command::{
    Batch, Command, Complete, Contact, Expire, ExpireReason, Fail, FailureClass, Grant,
    LeaderStart, PutPolicy, Submit, WorkPhase,
};
use crate::shard::job::JobState;
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

pub(in crate::shard) const SECOND: Duration = Duration::from_secs(1);

/// A shard with the queue `default`, led, and the leader's clock.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Fixture {
    pub(in crate::shard) state: ShardState,
    pub(in crate::shard) now: Timestamp,
    policies: u64,
    seed: u64,
}

pub(in crate::shard) fn queue() -> QueueName {
    QueueName::new("default").unwrap()
}

pub(in crate::shard) fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

pub(in crate::shard) fn job(number: u8) -> JobId {
    let mut random = [0; 12];
    random[11] = number;
    JobId::new(VirtualShard::new(1), random)
}

pub(in crate::shard) fn session(number: u128) -> SessionId {
    SessionId::from_random(number)
}

/// A digest that stands for a content; real ones are computed at the edges.
pub(in crate::shard) fn digest(content: u8) -> Digest {
    Digest::new([content; 32])
}

pub(in crate::shard) fn submit(number: u8) -> Submit {
    Submit {
        job: job(number),
        queue: queue(),
        tenant: None,
        key: None,
        payload: Bytes::from(vec![number]),
        digest: digest(number),
        priority: 4,
        delay: Duration::ZERO,
        deadline: None,
        requirement: Requirement::default(),
    }
}

/// Bytes that stand for a content. Some are as many as a bundle has, or more.
pub(in crate::shard) fn bytes_of(content: u8) -> Bytes {
    let length = [1, 300, 6_000, 40_000][usize::from(content % 4)];
    Bytes::from(vec![content; length])
}

pub(in crate::shard) fn grant(number: u8) -> Grant {
    Grant {
        job: job(number),
        session: session(1),
        worker: WorkerName::new("w1").unwrap(),
        region: RegionName::new("eu").unwrap(),
    }
}

impl Fixture {
    pub(in crate::shard) fn new() -> Self {
        Self::with_policy(QueuePolicy::default())
    }

    pub(in crate::shard) fn with_policy(policy: QueuePolicy) -> Self {
        let mut shard = Self {
            state: ShardState::new(Incarnation::default()),
            now: Timestamp::from_micros(1_000_000),
            policies: 0,
            seed: 0,
        };
        shard.take_over();
        shard.put_policy(policy);
        shard
    }

    pub(in crate::shard) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(in crate::shard) fn batch(&mut self, commands: Vec<Command>) -> Batch {
        self.seed += 1;
        Batch {
            epoch: self.state.epoch(),
            stamp: self.now,
            seed: self.seed,
            commands,
        }
    }

    pub(in crate::shard) fn apply(&mut self, commands: Vec<Command>) -> Applied {
        let batch = self.batch(commands);
        let applied = self.state.apply(&batch);
        assert!(self.state.indexes_are_true(), "after {batch:?}");
        applied
    }

    pub(in crate::shard) fn one(&mut self, command: Command) -> Outcome {
        self.apply(vec![command]).outcomes.remove(0)
    }

    pub(in crate::shard) fn leader_start(&mut self, previous: ShardEpoch) -> Outcome {
        self.one(Command::LeaderStart(LeaderStart {
            previous,
            node: NodeId::new(1),
            boot: BootCount::new(1),
        }))
    }

    pub(in crate::shard) fn take_over(&mut self) {
        let previous = self.state.epoch();
        assert_eq!(self.leader_start(previous), Outcome::Led(previous.next()));
    }

    pub(in crate::shard) fn put_policy(&mut self, policy: QueuePolicy) {
        self.policies += 1;
        let outcome = self.one(Command::PutPolicy(Box::new(PutPolicy {
            queue: queue(),
            policy,
            index: self.policies,
        })));
        assert_eq!(outcome, Outcome::PolicyPut);
    }

    pub(in crate::shard) fn submit(&mut self, submit: Submit) -> Outcome {
        self.one(Command::Submit(Box::new(submit)))
    }

    pub(in crate::shard) fn grant(&mut self, number: u8) -> Outcome {
        self.one(Command::Grant(Box::new(grant(number))))
    }

    /// A job that was submitted and granted, and its fence.
    pub(in crate::shard) fn leased_job(&mut self, number: u8) -> (JobId, FenceToken) {
        self.submit(submit(number));
        (job(number), self.lease(number))
    }

    /// Grants a ready job.
    pub(in crate::shard) fn lease(&mut self, number: u8) -> FenceToken {
        let outcome = self.grant(number);
        let Outcome::Granted(granted) = outcome else {
            panic!("not granted: {outcome:?}");
        };
        granted.fence
    }

    pub(in crate::shard) fn contact(&mut self, job: JobId, fence: FenceToken, progress: u64) {
        let outcome = self.one(Command::Contact(Contact {
            job,
            fence,
            progress,
            progressed_at: self.now,
            phase: WorkPhase::Running,
        }));
        assert_eq!(outcome, Outcome::Contacted);
    }

    pub(in crate::shard) fn complete(
        &mut self,
        job: JobId,
        fence: FenceToken,
        content: u8,
    ) -> Outcome {
        self.one(Command::Complete(Complete {
            job,
            fence,
            result: Bytes::from(vec![content]),
            digest: digest(content),
        }))
    }

    pub(in crate::shard) fn fail(
        &mut self,
        job: JobId,
        fence: FenceToken,
        class: FailureClass,
    ) -> Outcome {
        self.one(Command::Fail(Box::new(Fail {
            job,
            fence,
            class,
            message: "out of memory".to_owned(),
            detail: Bytes::new(),
            retry_after: None,
        })))
    }

    pub(in crate::shard) fn expire(
        &mut self,
        job: JobId,
        fence: Option<FenceToken>,
        reason: ExpireReason,
    ) -> Outcome {
        self.one(Command::Expire(Expire { job, fence, reason }))
    }

    pub(in crate::shard) fn job_state(&self, job: JobId) -> &JobState {
        &self.state.header(job).unwrap().state
    }
}
