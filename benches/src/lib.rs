//! What the micro-benches share: a shard driven by hand, through public interfaces only.
//!
//! A bench repeats whole rounds (submit, grant, complete, purge) on one shard and times one step of them. Nothing is
//! cloned, and as many jobs are held after a million rounds as after a thousand, with a backlog that is never touched,
//! since maps that hold next to nothing would flatter every step. No checkpoint is taken: what one would write piles up as
//! a number for each sixteen jobs, and what one costs the entries beside it is shown by `million`.

use std::time::Duration;

use bytes::Bytes;
use leasehold_core::policy::{DEFAULT_QUEUE, QueuePolicy};
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::command::{Complete, Grant, LeaderStart, Purge, PutPolicy, Submit};
use leasehold_core::shard::{Applied, Batch, Command, Outcome, ShardState};
use leasehold_types::{
    BootCount, Digest, FenceToken, Incarnation, JobId, NodeId, QueueName, RegionName, SessionId,
    Timestamp, VirtualShard, WorkerName, limits,
};
use mimalloc::MiMalloc;

/// As the binary that is measured by its parts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Bytes of every payload.
pub const PAYLOAD_BYTES: usize = 1024;
/// Jobs that are ready and stay so.
pub const BACKLOG: u64 = 10_000;
/// Between two rounds.
const ROUND: Duration = Duration::from_millis(10);
/// How long finished jobs stay: a hundred rounds.
const RETAINED: Duration = Duration::from_secs(1);
/// Odd, so that multiplying by it spreads numbers over all of 64 bits: real ids are random.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A shard with one queue, led, with a backlog of low priority.
#[derive(Debug)]
pub struct Shard {
    /// What batches are applied to.
    pub state: ShardState,
    now: Timestamp,
    seed: u64,
    jobs: u64,
    payload: Bytes,
}

impl Default for Shard {
    fn default() -> Self {
        Self::with_backlog(BACKLOG)
    }
}

impl Shard {
    /// A shard with so many ready jobs.
    #[must_use]
    pub fn with_backlog(jobs: u64) -> Self {
        let mut shard = Self {
            state: ShardState::new(Incarnation::default()),
            now: Timestamp::from_micros(1_000_000),
            seed: 0,
            jobs: 0,
            payload: Bytes::from(vec![7; PAYLOAD_BYTES]),
        };
        shard.take_over();
        while shard.jobs < jobs {
            let most = limits::ENTRY_COMMANDS as u64;
            let backlog = (0..most.min(jobs - shard.jobs)).map(|_| shard.submit(0));
            let backlog = backlog.collect();
            let batch = shard.batch(backlog);
            shard.apply(&batch);
        }
        shard
    }

    fn take_over(&mut self) {
        let start = Command::LeaderStart(LeaderStart {
            previous: self.state.epoch(),
            node: NodeId::new(1),
            boot: BootCount::new(1),
        });
        let start = self.batch(vec![start]);
        self.apply(&start);
        let policy = Command::PutPolicy(Box::new(PutPolicy {
            queue: queue(),
            policy: QueuePolicy {
                retain_done: RETAINED,
                retain_keys: RETAINED,
                ..QueuePolicy::default()
            },
            index: 1,
        }));
        let policy = self.batch(vec![policy]);
        self.apply(&policy);
    }

    /// The shard clock.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// A batch of these commands, as the leader would propose it now.
    pub fn batch(&mut self, commands: Vec<Command>) -> Batch {
        self.seed += 1;
        Batch {
            epoch: self.state.epoch(),
            stamp: self.now,
            seed: self.seed,
            commands,
        }
    }

    /// Applies a batch.
    ///
    /// # Panics
    /// When a command was refused: the bench would measure refusals.
    pub fn apply(&mut self, batch: &Batch) -> Applied {
        let applied = self.state.apply(batch);
        let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(_));
        let refused = applied.outcomes.iter().find(refused);
        assert!(refused.is_none(), "{refused:?}");
        applied
    }

    /// A new job of this priority.
    pub fn submit(&mut self, priority: u8) -> Command {
        self.jobs += 1;
        let mut random = [0; 12];
        random[4..].copy_from_slice(&self.jobs.wrapping_mul(SPREAD).to_be_bytes());
        Command::Submit(Box::new(Submit {
            job: JobId::new(VirtualShard::new(1), random),
            queue: queue(),
            tenant: None,
            key: None,
            payload: self.payload.clone(),
            digest: Digest::new([7; 32]),
            priority,
            delay: Duration::ZERO,
            deadline: None,
            requirement: Requirement::default(),
        }))
    }

    /// A batch of new jobs that come before the backlog.
    pub fn submits(&mut self, jobs: usize) -> Batch {
        let commands = (0..jobs).map(|_| self.submit(limits::PRIORITY_MAX));
        let commands = commands.collect();
        self.batch(commands)
    }

    /// A batch that leases every job of a batch of submits.
    pub fn grants(&mut self, submits: &Batch) -> Batch {
        let grant = |command: &Command| {
            let Command::Submit(submit) = command else {
                return None;
            };
            Some(Command::Grant(Box::new(Grant {
                job: submit.job,
                session: session(1),
                worker: worker(),
                region: region(),
            })))
        };
        let commands = submits.commands.iter().filter_map(grant).collect();
        self.batch(commands)
    }

    /// A batch that completes every job that a batch leased.
    pub fn completes(&mut self, granted: &Applied) -> Batch {
        let leases = granted.outcomes.iter().filter_map(lease);
        let complete = |(job, fence)| {
            Command::Complete(Complete {
                job,
                fence,
                result: Bytes::new(),
                digest: Digest::new([0; 32]),
            })
        };
        let commands = leases.map(complete).collect();
        self.batch(commands)
    }

    /// Ends a round: time passes, and what was retained for long enough goes.
    pub fn end_round(&mut self) {
        self.now = self.now + ROUND;
        let purge = Purge {
            limit: limits::PURGE_JOBS,
        };
        loop {
            let purge = self.batch(vec![Command::Purge(purge.clone())]);
            let purged = self.apply(&purge);
            let [Outcome::Purged { more: true, .. }] = purged.outcomes.as_slice() else {
                return;
            };
        }
    }
}

/// The lease that an outcome tells of.
#[must_use]
pub fn lease(outcome: &Outcome) -> Option<(JobId, FenceToken)> {
    let Outcome::Granted(granted) = outcome else {
        return None;
    };
    Some((granted.job, granted.fence))
}

/// The one queue.
#[must_use]
pub fn queue() -> QueueName {
    QueueName::new(DEFAULT_QUEUE).expect("a valid name")
}

/// The workers' name.
#[must_use]
pub fn worker() -> WorkerName {
    WorkerName::new("bench").expect("a valid name")
}

/// The workers' region.
#[must_use]
pub fn region() -> RegionName {
    RegionName::new("eu").expect("a valid name")
}

/// A session of this number.
#[must_use]
pub fn session(number: u64) -> SessionId {
    SessionId::from_random(u128::from(number.wrapping_mul(SPREAD)) << 64 | u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_is_as_large_after_many_rounds_as_after_few() {
        let mut shard = Shard::default();
        let mut sizes = Vec::new();
        for round in 0..400 {
            let submits = shard.submits(8);
            shard.apply(&submits);
            let grants = shard.grants(&submits);
            let granted = shard.apply(&grants);
            let completes = shard.completes(&granted);
            shard.apply(&completes);
            shard.end_round();
            if round >= 200 {
                let (_queue, counts) = shard.state.stats().queues.remove(0);
                sizes.push((counts.ready, counts.done));
            }
        }
        assert!(sizes.iter().all(|(ready, _)| *ready == BACKLOG));
        let done = sizes.iter().map(|(_, done)| *done);
        let (least, most) = (done.clone().min(), done.max());
        assert!(
            least
                .zip(most)
                .is_some_and(|(least, most)| most - least <= 8)
        );
    }
}
