//! A shard with its leader: everything that is proposed is applied and settled at once, unless a test says otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_types::{FenceToken, JobId, NodeId, RegionName, Timestamp, WorkerName, limits};

use super::fixture::{Fixture, queue, session};
use crate::policy::QueuePolicy;
use crate::requirement::Supply;
use crate::shard::Dispatcher;
use crate::shard::command::{Batch, Command, WorkPhase};
use crate::shard::dispatcher::{Assignment, Gate, Offer, Renewal, RenewalAnswer};
use crate::shard::outcome::{Applied, Outcome};

/// A shard, its leader, and what the leader cannot know by itself.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shard: Fixture,
    pub(super) dispatcher: Dispatcher,
    pub(super) gate: Gate,
    pub(super) unreachable: BTreeSet<RegionName>,
    messages: u64,
}

/// An offer of slots for the queue `default`, from the worker and session of that number in region `eu`.
pub(super) fn offer(worker: u32, free: u32) -> Offer {
    Offer {
        session: session(u128::from(worker)),
        worker: WorkerName::new(&format!("w{worker}")).unwrap(),
        region: region("eu"),
        gateway: NodeId::new(1),
        queues: vec![queue()],
        supply: Supply::default(),
        free,
        message: 0,
        number: 0,
        granted_seen: 0,
    }
}

pub(super) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(super) fn renewal(job: JobId, fence: FenceToken, progress: u64) -> Renewal {
    let phase = WorkPhase::Running;
    Renewal {
        job,
        fence,
        progress,
        phase,
    }
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with_policy(QueuePolicy::default())
    }

    pub(super) fn with_policy(policy: QueuePolicy) -> Self {
        let shard = Fixture::with_policy(policy);
        Self {
            dispatcher: Dispatcher::new(&shard.state, shard.now),
            shard,
            gate: Gate::OPEN,
            unreachable: BTreeSet::new(),
            messages: 0,
        }
    }

    /// Takes an offer in under the next message number.
    pub(super) fn offer(&mut self, offer: Offer) {
        self.messages += 1;
        let message = self.messages;
        self.dispatcher
            .offer(Offer { message, ..offer }, self.shard.now);
    }

    /// What the leader would propose now.
    pub(super) fn poll(&mut self) -> Vec<Command> {
        let unreachable = &self.unreachable;
        let is_unreachable = |region: &RegionName| unreachable.contains(region);
        let state = &self.shard.state;
        let poll = (self.dispatcher).poll(state, self.gate, &is_unreachable, self.shard.now);
        poll.commands
    }

    /// The leader's next entry, with what it grants eagerly.
    pub(super) fn entry(&mut self, commands: Vec<Command>) -> Batch {
        let mut batch = self.shard.batch(commands);
        let unreachable = &self.unreachable;
        let is_unreachable = |region: &RegionName| unreachable.contains(region);
        let (state, room) = (
            &self.shard.state,
            limits::ENTRY_COMMANDS - batch.commands.len(),
        );
        (self.dispatcher).grant_eagerly(state, &mut batch, room, self.gate, &is_unreachable);
        batch
    }

    /// Applies an entry and settles it.
    pub(super) fn land(&mut self, batch: &Batch) -> Vec<Assignment> {
        let applied = self.shard.state.apply(batch);
        self.settle(batch, Ok(&applied))
    }

    /// Applies commands as the leader's next entry and settles them.
    pub(super) fn commit(&mut self, commands: Vec<Command>) -> (Vec<Assignment>, Vec<Outcome>) {
        let batch = self.shard.batch(commands);
        let applied = self.shard.state.apply(&batch);
        let assignments = self.settle(&batch, Ok(&applied));
        (assignments, applied.outcomes)
    }

    pub(super) fn settle(
        &mut self,
        batch: &Batch,
        result: Result<&Applied, ()>,
    ) -> Vec<Assignment> {
        let state = &self.shard.state;
        self.dispatcher.settle(state, batch, result, self.shard.now)
    }

    /// Polls and commits until there is nothing left to do now; gives everything assigned.
    pub(super) fn run(&mut self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for _ in 0..1_000 {
            let unreachable = self.unreachable.clone();
            let is_unreachable = |region: &RegionName| unreachable.contains(region);
            let state = &self.shard.state;
            let poll = (self.dispatcher).poll(state, self.gate, &is_unreachable, self.shard.now);
            if poll.is_empty() {
                return assignments;
            }
            assignments.extend(self.commit(poll.commands).0);
        }
        panic!("there is always something left to do");
    }

    /// Goes on in steps of what the leader itself waits for, until then.
    pub(super) fn run_until(&mut self, end: Timestamp) -> Vec<Assignment> {
        let mut assignments = self.run();
        loop {
            let next = self.dispatcher.next_deadline(&self.shard.state);
            let next = next.filter(|at| *at < end).unwrap_or(end);
            assert!(
                next > self.shard.now || next == end,
                "the leader never rests"
            );
            self.shard.now = next.max(self.shard.now);
            assignments.extend(self.run());
            if self.shard.now >= end {
                return assignments;
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) -> Vec<Assignment> {
        self.run_until(self.shard.now + time)
    }

    /// One renewal of a lease that makes progress.
    pub(super) fn renew(&mut self, worker: u32, renewal: Renewal) -> RenewalAnswer {
        self.messages += 1;
        let (session, message) = (session(u128::from(worker)), self.messages);
        let (state, now) = (&self.shard.state, self.shard.now);
        let answers = (self.dispatcher).renew(state, session, &[renewal], message, self.gate, now);
        answers[0]
    }

    /// Another leader takes over. It knows the time of the newest entry; the time without a leader does not count.
    pub(super) fn take_over(&mut self) {
        self.shard.now = self.shard.state.stamp();
        self.shard.take_over();
        self.dispatcher = Dispatcher::new(&self.shard.state, self.shard.now);
    }
}
