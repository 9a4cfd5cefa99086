//! A shard in a bad world, repeatable from a seed: leaders that die with entries on their way, answers that get lost,
//! workers that die, stall, come late and lie about nothing. No clock, no threads: one step after another.
//!
//! Real are the state, the dispatcher and the shard clock. What is played is what they cannot see: the log between
//! proposing and applying, the network, the workers and the callers.

mod chance;
mod leader;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use leasehold_types::{BootCount, Incarnation, JobId, NodeId, Timestamp};

use super::fixture::{SECOND, queue};
use super::invariants::Invariants;
use crate::policy::QueuePolicy;
use crate::shard::command::{Batch, Command, LeaderStart, PutPolicy};
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

use chance::Chance;
use leader::Leader;
use workers::Worker;

/// How bad the world is: chances in a thousand, per step or per message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) takeover: u64,
    pub(super) lost_message: u64,
    pub(super) unknown_outcome: u64,
    pub(super) verdict: u64,
    pub(super) closed_gate: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        takeover: 0,
        lost_message: 0,
        unknown_outcome: 0,
        verdict: 0,
        closed_gate: 0,
    };
}

/// An entry that was proposed.
struct Flight {
    batch: Batch,
    /// Its leader was told that its outcome is not known.
    is_doubted: bool,
}

pub(super) struct World {
    chance: Chance,
    faults: Faults,
    pub(super) state: ShardState,
    monotonic: Timestamp,
    leader: Leader,
    flights: VecDeque<Flight>,
    workers: Vec<Worker>,
    /// Writes that wait for the next entry.
    writes: Vec<Command>,
    invariants: Invariants,
    /// When each leased job's worker was last heard by a leader, by the shard clock.
    heard: BTreeMap<JobId, Timestamp>,
    submitted: u32,
    pub(super) takeovers: u32,
}

/// A lease runs out this much after three lengths at the latest: what entries take to be applied, or to be lost and
/// proposed again.
const SLACK: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut state = ShardState::new(Incarnation::default());
        let mut invariants = Invariants::default();
        for command in [start(&state), put_policy()] {
            let batch = Batch {
                epoch: state.epoch(),
                commands: vec![command],
                ..Batch::default()
            };
            let applied = state.apply(&batch);
            invariants.observe(&batch, &applied, &state);
        }
        let mut chance = Chance::new(seed);
        let workers = (1..=5).map(|number| Worker::new(number, &mut chance));
        Self {
            workers: workers.collect(),
            leader: Leader::new(&state, Timestamp::ZERO),
            chance,
            faults,
            state,
            monotonic: Timestamp::ZERO,
            flights: VecDeque::new(),
            writes: Vec::new(),
            invariants,
            heard: BTreeMap::new(),
            submitted: 0,
            takeovers: 0,
        }
    }

    /// Something of everything happens.
    pub(super) fn step(&mut self) {
        let passed = self.chance.up_to(1_500);
        self.monotonic = self.monotonic + Duration::from_millis(passed);
        self.play_callers();
        self.play_workers();
        self.propose();
        self.play_log();
        if self.chance.is(self.faults.takeover) {
            self.take_over();
        }
        self.check_leases();
    }

    /// All faults end, and every worker works.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::NONE;
        self.leader.heal();
        self.workers.iter_mut().for_each(Worker::heal);
    }

    /// Steps without new submits until every job has ended. Panics when that takes longer than it may.
    pub(super) fn finish(&mut self) {
        for _ in 0..5_000 {
            self.monotonic = self.monotonic + SECOND;
            self.play_workers();
            self.propose();
            self.play_log();
            self.check_leases();
            let is_over = self.state.jobs().all(|job| job.header.state.is_terminal());
            if is_over && self.flights.is_empty() {
                return self.check_rest();
            }
        }
        panic!("jobs are left over: {:#?}", self.state.stats());
    }

    /// Nothing is held by anybody once everything has ended.
    fn check_rest(&self) {
        assert!(self.leader.dispatcher.is_clear());
        assert!(self.state.indexes_are_true());
        assert_eq!(self.state, self.state.rebuilt());
    }

    fn apply(&mut self, batch: &Batch) -> Applied {
        let applied = self.state.apply(batch);
        self.invariants.observe(batch, &applied, &self.state);
        for outcome in &applied.outcomes {
            if let Outcome::Granted(granted) = outcome {
                self.heard.insert(granted.job, self.state.stamp());
            }
        }
        applied
    }

    /// A worker that is not heard loses its lease, however leaders change.
    fn check_leases(&self) {
        for job in self.state.index.leased() {
            let lease = self.state.lease(*job).unwrap();
            let heard = self.heard[job].max(lease.granted_at);
            let silence = self.state.stamp().since(heard);
            assert!(
                silence <= 3 * lease.length + SLACK,
                "job {job} is still leased after {silence:?}: {lease:#?}"
            );
        }
    }
}

/// The log.
impl World {
    fn propose(&mut self) {
        let now = self.leader.now(self.monotonic);
        let (mut commands, tick) = self.leader.poll(&self.state, now);
        let writes = std::mem::take(&mut self.writes);
        let leader = &self.leader;
        let passes = |write: &Command| leader.passes(&self.state, write);
        commands.extend(writes.into_iter().filter(passes));
        if commands.is_empty() && !tick {
            return;
        }
        let mut batch = Batch {
            epoch: self.leader.epoch,
            stamp: now,
            seed: self.chance.next(),
            commands,
        };
        let room = usize::try_from(self.chance.up_to(5)).unwrap();
        self.leader.grant_eagerly(&self.state, &mut batch, room);
        let is_doubted = false;
        self.flights.push_back(Flight { batch, is_doubted });
    }

    /// Some of what was proposed is applied, some is not heard of again.
    fn play_log(&mut self) {
        self.doubt_some();
        while let Some(flight) = self.flights.pop_front() {
            self.land(flight);
            if self.chance.is(300) {
                return;
            }
        }
    }

    fn doubt_some(&mut self) {
        let now = self.leader.now(self.monotonic);
        for flight in &mut self.flights {
            if !flight.is_doubted && self.chance.is(self.faults.unknown_outcome) {
                flight.is_doubted = true;
                self.leader.settle_unknown(&self.state, &flight.batch, now);
            }
        }
    }

    fn land(&mut self, flight: Flight) {
        if flight.is_doubted {
            if self.chance.is(500) {
                self.apply(&flight.batch);
            }
            return;
        }
        let applied = self.apply(&flight.batch);
        let now = self.leader.now(self.monotonic);
        let assignments = self
            .leader
            .settle(&self.state, &flight.batch, &applied, now);
        self.deliver(assignments);
    }

    /// The leader is gone, and the tail of what it had proposed. The time without a leader does not count.
    fn take_over(&mut self) {
        self.takeovers += 1;
        let kept = self.chance.up_to(self.flights.len() as u64 + 1);
        for _ in 0..kept {
            if let Some(flight) = self.flights.pop_front() {
                self.apply(&flight.batch);
            }
        }
        let tail: Vec<Flight> = self.flights.drain(..).collect();
        self.writes.clear();
        self.monotonic = self.monotonic + Duration::from_millis(self.chance.up_to(20_000));
        let batch = Batch {
            epoch: self.state.epoch(),
            stamp: self.state.stamp(),
            seed: self.chance.next(),
            commands: vec![start(&self.state)],
        };
        self.apply(&batch);
        // What the old leader had on its way may still come after the new one's start.
        if let Some(flight) = tail.first() {
            self.apply(&flight.batch);
        }
        self.leader = Leader::new(&self.state, self.monotonic);
        self.workers.iter_mut().for_each(Worker::leader_changed);
    }
}

fn start(state: &ShardState) -> Command {
    Command::LeaderStart(LeaderStart {
        previous: state.epoch(),
        node: NodeId::new(1),
        boot: BootCount::new(1),
    })
}

fn put_policy() -> Command {
    Command::PutPolicy(Box::new(PutPolicy {
        queue: queue(),
        policy: QueuePolicy {
            job_deadline: Duration::from_secs(3_000),
            attempt_limit: Duration::from_secs(300),
            ..QueuePolicy::default()
        },
        index: 1,
    }))
}
