//! One leadership of one shard: gathers commands, proposes them, and does what follows once they are applied.
//!
//! One task holds everything that only a leader knows. It is woken by events, by applied entries and by time; each
//! time it first takes in what happened, then proposes what there is. Several entries are under way at once, and are
//! settled in the order in which they were proposed.
//!
//! The dispatcher's clock is the shard clock, which goes on from the stamp in the replicated state.

mod delivering;
mod events;
mod landing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use leasehold_consensus::{PayloadReader, ProposeError};
use leasehold_core::shard::dispatcher::Gate;
use leasehold_core::shard::{Applied, Batch, Command, Dispatcher, ShardClock};
use leasehold_types::{NodeId, RegionName, SessionId, ShardEpoch, Timestamp, limits};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Deliveries;
use super::batcher::{Batcher, FLIGHTS, GATHER, Gathered, Origin};
use super::gate::{SlipWatch, gate};
use super::mailbox::Event;
use super::news::BacklogNews;
use super::policies::Policies;
use super::replica::Shared;
use crate::disk::DiskHealth;

/// Events taken in before anything is proposed.
const EVENTS_AT_ONCE: usize = 256;
/// How often a leader that nothing wakes looks around: for metrics, and for news of a backlog.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How soon a closed gate is looked at again.
const GATE_AGAIN: Duration = Duration::from_millis(100);
/// How long a job may be ready before it counts as one that nobody here takes.
const NEWS_AFTER: Duration = Duration::from_millis(20);
/// Shortest sleep, so that a deadline which cannot be dealt with yet costs little.
const NAP_MIN: Duration = Duration::from_millis(1);

/// How a leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Raft has another leader, or none.
    Lost,
    /// Another epoch has begun.
    Superseded,
    /// The replica is being stopped.
    Stopped,
}

/// What a leader put into the log.
struct Entry {
    batch: Arc<Batch>,
    /// Where each of its commands came from.
    origins: Vec<Origin>,
    bytes: usize,
    proposed_at: Timestamp,
}

/// What came of an entry.
struct Landed {
    entry: Entry,
    result: Result<Applied, ProposeError>,
}

/// Where a worker's connection was last heard of.
struct Holder {
    node: NodeId,
    heard_at: Timestamp,
}

/// What only a leader knows.
pub(super) struct Leader {
    shared: Arc<Shared>,
    deliveries: Deliveries,
    payloads: Arc<PayloadReader>,
    epoch: ShardEpoch,
    term: u64,
    clock: ShardClock,
    dispatcher: Dispatcher,
    batcher: Batcher,
    flights: FuturesOrdered<BoxFuture<'static, Landed>>,
    policies: Policies,
    news: BacklogNews,
    /// Which gateway a session's offers come through.
    gateways: BTreeMap<SessionId, Holder>,
    /// Since when the dispatcher has something to look at.
    dispatch_since: Option<Timestamp>,
    /// The last entry was full of the dispatcher's commands: what waits is first in the next.
    own_filled_the_last: bool,
    /// Since the dispatcher was asked last: there may be something that it could not do.
    gate_was_closed: bool,
    slip: SlipWatch,
    /// After a standstill: proves that this node still leads.
    proof: Option<BoxFuture<'static, ()>>,
    /// When to look whether some queue has work that nobody takes.
    news_due: Option<Timestamp>,
    looked_around_at: Timestamp,
    stale_writes_refused: u64,
}

impl Leader {
    /// Begins with the state in which the leadership's own start was applied.
    pub(super) fn new(
        shared: Arc<Shared>,
        deliveries: Deliveries,
        epoch: ShardEpoch,
        term: u64,
    ) -> Self {
        let monotonic = shared.context.seam.clock.now();
        let (clock, dispatcher) = shared.look(|state| {
            let clock = ShardClock::new(state.stamp(), monotonic);
            (clock, Dispatcher::new(state, state.stamp()))
        });
        Self {
            payloads: Arc::new(PayloadReader::new(shared.group.clone())),
            deliveries,
            epoch,
            term,
            dispatcher,
            batcher: Batcher::default(),
            flights: FuturesOrdered::new(),
            policies: Policies::default(),
            news: BacklogNews::default(),
            gateways: BTreeMap::new(),
            dispatch_since: Some(clock.stamp(monotonic)),
            own_filled_the_last: false,
            gate_was_closed: false,
            slip: SlipWatch::new(monotonic),
            proof: None,
            news_due: None,
            looked_around_at: Timestamp::ZERO,
            stale_writes_refused: 0,
            clock,
            shared,
        }
    }

    /// Serves until the leadership ends, and answers everybody who still waits.
    pub(super) async fn serve(mut self, mailbox: &mut mpsc::Receiver<Event>) -> Ended {
        self.tell_policies();
        self.shared.serving.send_replace(Some(self.epoch));
        self.shared.leaders.send_replace(());
        let ended = self.run(mailbox).await;
        self.batcher.fail_all();
        ended
    }

    async fn run(&mut self, mailbox: &mut mpsc::Receiver<Event>) -> Ended {
        let shared = self.shared.clone();
        let mut led_term = shared.group.led_term();
        let mut metadata = shared.context.cluster.applied();
        let mut disk = shared.context.disk.clone();
        // SUBTLE: a leadership that begins on a full disk stays. Where all disks are full, each node would give it away at
        // once; so it is given away once by each node that fills up, and not by those that are full already.
        if *disk.borrow_and_update() != DiskHealth::Full {
            self.mind_the_disk();
        }
        loop {
            self.propose_what_there_is();
            let nap = self.nap();
            self.slip.sleeps(self.monotonic(), nap);
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return Ended::Stopped,
                _ended_or_another = led_term.wait_for(|term| *term != Some(self.term)) => return Ended::Lost,
                Some(landed) = self.flights.next() => if let Some(ended) = self.land(landed) {
                    return ended;
                },
                () = proved(&mut self.proof) => self.proved(),
                Ok(()) = metadata.changed() => self.tell_policies(),
                Ok(()) = disk.changed() => self.mind_the_disk(),
                Some(event) = mailbox.recv() => self.take_in(event, mailbox),
                () = sleep(nap) => {}
            }
            self.look_at_the_time();
        }
    }

    fn monotonic(&self) -> Timestamp {
        self.shared.context.seam.clock.now()
    }

    /// The shard clock.
    fn now(&self) -> Timestamp {
        self.clock.stamp(self.monotonic())
    }

    /// The dispatcher is to be asked with the next entry.
    fn want_dispatch(&mut self) {
        let now = self.now();
        self.dispatch_since.get_or_insert(now);
    }

    /// Something became ready: soon it has either been granted, or other gateways should hear of it.
    fn expect_news(&mut self) {
        let soonest = (self.now() + NEWS_AFTER).max(self.news.next_round());
        self.news_due.get_or_insert(soonest);
    }

    fn gate(&mut self) -> Gate {
        let status = self.shared.group.watch();
        let lease = self.shared.context.cluster.raft_timings().leader_lease();
        let disk = *self.shared.context.disk.borrow();
        let gate = gate(
            &status.borrow(),
            lease,
            disk,
            self.shared.is_transferring(),
            self.proof.is_some(),
        );
        self.gate_was_closed |= !gate.is_open();
        gate
    }

    fn propose_what_there_is(&mut self) {
        let now = self.now();
        while self
            .batcher
            .is_due(self.flights.len(), self.dispatch_since, now)
        {
            let (own, is_tick) = self.ask_dispatcher(now);
            let gathered = self.batcher.gather(own);
            if gathered.commands.is_empty() && !is_tick {
                return;
            }
            self.propose(gathered, now);
        }
    }

    /// The dispatcher's next commands, and whether the shard's clock has to move even without any.
    fn ask_dispatcher(&mut self, now: Timestamp) -> (Vec<Command>, bool) {
        let others_first = self.own_filled_the_last && self.batcher.waiting_since().is_some();
        self.own_filled_the_last = false;
        if others_first || self.dispatch_since.is_none() {
            return (Vec::new(), false);
        }
        self.gate_was_closed = false;
        let gate = self.gate();
        let dispatcher = &mut self.dispatcher;
        let no_verdicts = |_: &RegionName| false;
        let poll = self
            .shared
            .look(|state| dispatcher.poll(state, gate, &no_verdicts, now));
        self.own_filled_the_last = poll.commands.len() >= limits::ENTRY_COMMANDS;
        self.dispatch_since = self.own_filled_the_last.then_some(now);
        (poll.commands, poll.tick)
    }

    fn propose(&mut self, mut gathered: Gathered, now: Timestamp) {
        let room = gathered.room();
        let mut batch = Batch {
            epoch: self.epoch,
            stamp: now,
            seed: self.shared.context.seam.entropy.next(),
            commands: std::mem::take(&mut gathered.commands),
        };
        self.grant_eagerly(&mut batch, room);
        gathered.own_to(batch.commands.len());
        let entry = Entry {
            batch: Arc::new(batch),
            origins: gathered.origins,
            bytes: gathered.bytes,
            proposed_at: now,
        };
        let group = self.shared.group.clone();
        self.flights.push_back(Box::pin(async move {
            let applied = group.propose(entry.batch.clone()).await;
            let result = applied.map(|applied| applied.outcome);
            Landed { entry, result }
        }));
    }

    fn grant_eagerly(&mut self, batch: &mut Batch, room: usize) {
        let gate = self.gate();
        let dispatcher = &mut self.dispatcher;
        let no_verdicts = |_: &RegionName| false;
        self.shared
            .look(|state| dispatcher.grant_eagerly(state, batch, room, gate, &no_verdicts));
    }

    /// How long until something has to be done without being asked.
    fn nap(&self) -> Duration {
        let now = self.now();
        let mut until = self.looked_around_at + LOOK_AROUND;
        if self.flights.len() < FLIGHTS {
            let waiting = [self.batcher.waiting_since(), self.dispatch_since];
            let waiting = waiting.into_iter().flatten().min();
            until = waiting.map_or(until, |since| until.min(since + GATHER));
            let deadline = self
                .shared
                .look(|state| self.dispatcher.next_deadline(state));
            until = deadline.map_or(until, |deadline| until.min(deadline));
        }
        if self.gate_was_closed {
            until = until.min(now + GATE_AGAIN);
        }
        until = self.news_due.map_or(until, |due| until.min(due));
        until.since(now).max(NAP_MIN)
    }

    /// Takes note of what time alone has brought about.
    fn look_at_the_time(&mut self) {
        if self.slip.slipped(self.monotonic()) && self.proof.is_none() {
            self.prove_leadership();
        }
        let now = self.now();
        let deadline = self
            .shared
            .look(|state| self.dispatcher.next_deadline(state));
        if self.gate_was_closed || deadline.is_some_and(|deadline| deadline <= now) {
            self.want_dispatch();
        }
        if self.news_due.is_some_and(|due| due <= now) {
            self.news_due = None;
            self.tell_news();
        }
        if now.since(self.looked_around_at) >= LOOK_AROUND {
            self.looked_around_at = now;
            self.look_around();
        }
    }

    /// The process stood still: others may lead by now, and the age of the last quorum cannot be trusted.
    fn prove_leadership(&mut self) {
        tracing::warn!(shard_id = %self.shared.shard, "this process stood still: proving leadership anew");
        let barrier = self.shared.barrier.clone();
        self.proof = Some(Box::pin(async move {
            while barrier.pass().await.is_err() {
                sleep(GATE_AGAIN).await;
            }
        }));
    }

    fn proved(&mut self) {
        self.proof = None;
        self.want_dispatch();
    }

    fn tell_policies(&mut self) {
        let now = self.now();
        let shared = self.shared.clone();
        let missing = shared.context.cluster.read(|metadata| {
            shared.look(|state| self.policies.missing(shared.shard, metadata, state))
        });
        for command in missing {
            self.batcher.push_own(command, now);
        }
        self.note_policies();
    }

    /// Tells waiting submits how much of the metadata the shard has been told.
    fn note_policies(&self) {
        let shared = &self.shared;
        let seen = shared
            .context
            .cluster
            .read(|metadata| shared.look(|state| Policies::seen(shared.shard, metadata, state)));
        shared.metadata_seen.send_replace(seen);
    }

    fn mind_the_disk(&self) {
        let health = *self.shared.context.disk.borrow();
        if health.hands_over() {
            let shared = self.shared.clone();
            let within = shared.context.cluster.raft_timings().leader_lease() * 2;
            tokio::spawn(async move { shared.leave_to_better_disks(within).await });
        }
    }
}

/// Waits for a proof that is under way; for ever when none is.
async fn proved(proof: &mut Option<BoxFuture<'static, ()>>) {
    match proof {
        Some(proof) => proof.await,
        None => std::future::pending().await,
    }
}
