//! A replica that reads what the leader wrote ends in the leader's state, by the log and by the rows of a checkpoint alike.

use std::time::Duration;

use leasehold_core::metadata::MetadataState;
use leasehold_core::policy::QueuePolicy;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::command::{
    Cancel, Complete, Contact, Fail, Grant, LeaderStart, PutPolicy, Redrive, Submit,
};
use leasehold_core::shard::job::JobHeader;
use leasehold_core::shard::state::{FrozenEntry, FrozenHead, ShardHead};
use leasehold_core::shard::view::ShardStats;
use leasehold_core::shard::{Batch, Command, Outcome, ShardState};
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
            policy: QueuePolicy::default(),
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
        self.follower = through_rows(&self.leader);
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

/// The shard as another replica reads it from its rows.
fn through_rows(state: &ShardState) -> ShardState {
    let mut state = state.clone();
    let head = shard::encode_head(&state.freeze());
    let taken = state.take_frozen(usize::MAX).unwrap_or_default();
    let runs = taken.runs.into_iter();
    let rows =
        runs.map(|run| shard::encode_run(run.packs, run.entries.iter().map(FrozenEntry::kept)));
    let mut reader = shard::Reader::default();
    let read: Vec<_> = rows.map(|row| reader.read(row).unwrap()).collect();
    let FrozenHead { head, policies } = shard::decode_head(head).unwrap();
    ShardState::from_parts(head, policies, read).unwrap()
}

/// What does not depend on what is in memory.
fn essence(state: &ShardState) -> (ShardHead, Vec<(JobHeader, usize)>, ShardStats) {
    let jobs = state.jobs().map(|job| (job.header.clone(), job.bytes()));
    (state.head(), jobs.collect(), state.stats())
}

fn queue() -> QueueName {
    QueueName::new("chat").unwrap()
}

/// A random command turned to a job and a lease that exist, where it is about one.
fn aim(mut command: Command, any: JobId, job: JobId, fence: FenceToken) -> Command {
    if let Command::Submit(submit) = &mut command {
        let submit: &mut Submit = submit.as_mut();
        (submit.queue, submit.delay, submit.deadline) = (queue(), Duration::ZERO, None);
        submit.priority %= 10;
        submit.requirement = Requirement::default();
    } else if let Command::Grant(grant) = &mut command {
        let Grant { job, .. } = grant.as_mut();
        *job = any;
    } else if let Command::Fail(fail) = &mut command {
        let Fail {
            job: to,
            fence: under,
            ..
        } = fail.as_mut();
        (*to, *under) = (job, fence);
    } else if let Command::Contact(Contact {
        job: to,
        fence: under,
        ..
    })
    | Command::Complete(Complete {
        job: to,
        fence: under,
        ..
    }) = &mut command
    {
        (*to, *under) = (job, fence);
    } else if let Command::Cancel(Cancel { job, .. }) | Command::Redrive(Redrive { job }) =
        &mut command
    {
        *job = any;
    }
    command
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
            }
            let command = pair.aimed(command, at);
            pair.write(command);
        }
        prop_assert_eq!(essence(&pair.follower), essence(&pair.leader));
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
