//! A replica that reads what the leader wrote ends in the leader's state, by the log and by the rows of a checkpoint alike.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use leasehold_core::metadata::MetadataState;
use leasehold_core::policy::QueuePolicy;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::command::{
    Cancel, Complete, Contact, Discard, Expire, Fail, Grant, LeaderStart, PutPolicy, Redrive,
    Release, Submit,
};
use leasehold_core::shard::job::{JobHeader, Part};
use leasehold_core::shard::state::{FrozenEntry, FrozenHead, FrozenRun, RUN, ShardHead};
use leasehold_core::shard::view::{Elsewhere, JobView, ShardStats, StoredParts};
use leasehold_core::shard::{Batch, Command, Outcome, Refusal, ShardState};
use leasehold_records::{metadata, shard};
use leasehold_types::{
    BootCount, FenceToken, Incarnation, JobId, NodeId, QueueName, ShardEpoch, Timestamp,
    VirtualShard,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::values;

/// A leader, the replica that follows it by bytes, and the jobs and fences that there are so far.
struct Pair {
    leader: ShardState,
    follower: ShardState,
    /// What the follower has in its checkpoint alone.
    rows: Rows,
    jobs: Vec<JobId>,
    fences: Vec<(JobId, FenceToken)>,
    seed: u64,
}

impl Pair {
    fn started() -> Self {
        let new = || ShardState::new(Incarnation::new(1));
        let mut pair = Self {
            leader: new(),
            follower: new(),
            rows: Rows::default(),
            jobs: Vec::new(),
            fences: Vec::new(),
            seed: 0,
        };
        let start = LeaderStart {
            previous: ShardEpoch::ZERO,
            node: NodeId::new(1),
            boot: BootCount::new(1),
        };
        pair.write(Command::LeaderStart(start));
        let put = PutPolicy {
            queue: queue(),
            policy: policy(),
            index: 1,
        };
        pair.write(Command::PutPolicy(Box::new(put)));
        pair
    }

    /// Writes one command, to the leader as it is and to the follower by its bytes.
    fn write(&mut self, command: Command) {
        self.seed += 1;
        let batch = Batch {
            epoch: self.leader.epoch(),
            stamp: Timestamp::from_micros(self.seed * 1_000_000),
            seed: self.seed,
            commands: vec![command],
        };
        let applied = self.leader.apply(&batch);
        let read = shard::decode_batch(shard::encode_batch(&batch)).unwrap();
        assert_eq!(self.follower.apply(&read), applied);
        applied
            .outcomes
            .iter()
            .for_each(|outcome| self.note(outcome));
    }

    fn note(&mut self, outcome: &Outcome) {
        if let Outcome::Submitted(submitted) = outcome {
            self.jobs.push(submitted.job);
        }
        if let Outcome::Granted(granted) = outcome {
            self.fences.push((granted.job, granted.fence));
        }
    }

    fn snapshot(&mut self) {
        (self.follower, self.rows) = through_rows(&self.leader);
    }

    fn agree(&self) {
        let follower = essence(&self.follower, &self.rows, &self.jobs);
        let leader = essence(&self.leader, &Rows::default(), &self.jobs);
        assert_eq!(follower, leader);
    }

    fn aimed(&self, command: Command, at: Index) -> Command {
        let (job, fence) = match self.fences.is_empty() {
            true => (
                JobId::new(VirtualShard::new(0), [0; 12]),
                FenceToken::default(),
            ),
            false => *at.get(&self.fences),
        };
        let any = self
            .jobs
            .get(at.index(self.jobs.len().max(1)))
            .copied()
            .unwrap_or(job);
        aim(command, any, job, fence)
    }
}

/// What a checkpoint has beside the runs, by its bytes.
#[derive(Default)]
struct Rows {
    /// By the kind and the first arrival of each.
    bundles: BTreeMap<(bool, u64), Bytes>,
    /// By the number of the run.
    packs: BTreeMap<u64, Bytes>,
}

impl Rows {
    fn write(&mut self, run: &FrozenRun) -> Bytes {
        for part in Part::ALL {
            let bundles = run.bundles(part);
            let rows = bundles.iter().map(|bundle| {
                let key = (part == Part::Result, bundle.first);
                (key, shard::encode_bundle(bundle))
            });
            self.bundles.extend(rows);
        }
        if run.pack.is_some() {
            self.packs
                .insert(run.number, shard::encode_pack(run.attempts()));
        }
        shard::encode_run(run.packs, run.entries.iter().map(FrozenEntry::kept))
    }

    /// What the shard says that it does not have in memory.
    fn parts(&self, job: Elsewhere) -> StoredParts {
        let pack = self.packs.get(&(job.sequence / RUN)).cloned();
        let attempts = pack.map(|pack| shard::decode_pack(pack, job.sequence).unwrap());
        let part = |part| {
            let first = job.bundle(part)?;
            let row = self.bundles.get(&(part == Part::Result, first)).cloned();
            let parts = shard::decode_bundle(row?, first).unwrap();
            let own = parts.into_iter().find(|(owner, _)| *owner == job.sequence);
            own.map(|(_, part)| part)
        };
        StoredParts {
            payload: part(Part::Payload),
            result: part(Part::Result),
            attempts: attempts.unwrap_or_default(),
        }
    }
}

/// The shard as another replica reads it from its rows, and what it leaves there.
fn through_rows(state: &ShardState) -> (ShardState, Rows) {
    let (mut state, mut rows) = (state.clone(), Rows::default());
    let head = shard::encode_head(&state.freeze());
    let runs = state.take_frozen(usize::MAX).unwrap_or_default();
    let written: Vec<_> = runs.iter().map(|run| rows.write(run)).collect();
    let mut reader = shard::Reader::default();
    let read = written.into_iter().map(|row| reader.read(row).unwrap());
    let FrozenHead { head, policies } = shard::decode_head(head).unwrap();
    let read = ShardState::from_parts(head, policies, read).unwrap();
    (read, rows)
}

/// Everything that a shard keeps, wherever it is.
#[derive(Debug, PartialEq)]
struct Essence {
    head: ShardHead,
    jobs: Vec<(JobHeader, usize, JobView)>,
    stats: ShardStats,
    /// What is said of the jobs that are not held: whether they are remembered.
    absent: Vec<Refusal>,
}

fn essence(state: &ShardState, rows: &Rows, ever: &[JobId]) -> Essence {
    let jobs = state.jobs().map(|job| {
        let mut view = state.job(job.header.id).unwrap();
        let elsewhere = state.elsewhere(job.header.id);
        elsewhere.into_iter().for_each(|e| view.add(rows.parts(e)));
        (job.header.clone(), job.bytes(), view)
    });
    let gone = ever.iter().filter(|job| state.job(**job).is_none());
    Essence {
        head: state.head(),
        jobs: jobs.collect(),
        stats: state.stats(),
        absent: gone.map(|job| state.absent(*job)).collect(),
    }
}

/// Keeps for a few commands only, so that jobs are purged and forgotten.
fn policy() -> QueuePolicy {
    QueuePolicy {
        retain_done: Duration::from_secs(4),
        retain_failed: Duration::from_secs(8),
        retain_keys: Duration::from_secs(6),
        ..QueuePolicy::default()
    }
}

fn queue() -> QueueName {
    QueueName::new("chat").unwrap()
}

/// A random command turned to a job and a lease that exist, where it is about one.
fn aim(command: Command, any: JobId, job: JobId, fence: FenceToken) -> Command {
    match command {
        Command::Submit(submit) => Command::Submit(Box::new(Submit {
            queue: queue(),
            priority: submit.priority % 10,
            delay: Duration::ZERO,
            deadline: None,
            requirement: Requirement::default(),
            ..*submit
        })),
        Command::Grant(grant) => Command::Grant(Box::new(Grant { job: any, ..*grant })),
        Command::Contact(contact) => Command::Contact(Contact {
            job,
            fence,
            ..contact
        }),
        Command::Complete(complete) => Command::Complete(Complete {
            job,
            fence,
            ..complete
        }),
        Command::Fail(fail) => Command::Fail(Box::new(Fail {
            job,
            fence,
            ..*fail
        })),
        Command::Expire(expire) => Command::Expire(Expire {
            job,
            fence: Some(fence),
            ..expire
        }),
        Command::Release(release) => Command::Release(Release {
            job,
            fence,
            ..release
        }),
        Command::Cancel(cancel) => Command::Cancel(Cancel { job: any, ..cancel }),
        Command::Redrive(Redrive { .. }) => Command::Redrive(Redrive { job: any }),
        Command::Discard(Discard { .. }) => Command::Discard(Discard { job: any }),
        Command::LeaderStart(_) | Command::Purge(_) | Command::PutPolicy(_) => command,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shard_that_is_read_is_the_shard_that_was_written(
        commands in vec((values::shard::command(), any::<Index>()), 0..60), cut in any::<Index>(),
    ) {
        let mut pair = Pair::started();
        let cut = cut.index(commands.len() + 1);
        for (position, (command, at)) in commands.into_iter().enumerate() {
            if position == cut {
                pair.snapshot();
                pair.agree();
            }
            let command = pair.aimed(command, at);
            pair.write(command);
        }
        pair.agree();
    }

    #[test]
    fn metadata_that_is_read_is_the_metadata_that_was_written(
        start in values::metadata::state(), commands in vec(values::metadata::command(), 0..40),
    ) {
        let mut leader: MetadataState = start;
        let mut follower = metadata::decode_state(metadata::encode_state(&leader)).unwrap();
        for command in commands {
            let index = leader.applied() + 1;
            let read = metadata::decode_command(metadata::encode_command(&command)).unwrap();
            prop_assert_eq!(leader.apply(index, &command), follower.apply(index, &read));
        }
        prop_assert_eq!(follower, leader);
    }
}
