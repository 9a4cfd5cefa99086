//! Lending against leaders that grant whenever they may, over a network that delays, loses and repeats.
//!
//! The rule under test is the one that matters to a worker: with every message delivered in the end and no leader
//! changes, no grant ever arrives without a slot; and once all is quiet, every free slot is lent to somebody.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A leader as the dispatcher counts: grants made, against an absolute offer.
#[derive(Debug, Default)]
struct Leader {
    made: u64,
    free: u64,
    seen: u64,
    jobs: u64,
}

impl Leader {
    fn take(&mut self, offer: &SlotOffer) -> OfferAnswer {
        if offer.epoch == E1 {
            self.free = u64::from(offer.free);
            self.seen = offer.granted_seen;
            self.made = self.made.max(offer.granted_seen);
        }
        OfferAnswer {
            epoch: E1,
            granted: self.made,
            backlog: self.jobs,
            is_refused: false,
        }
    }

    /// The number of a new grant, if there is a job and a slot for it.
    fn grant(&mut self) -> Option<u64> {
        let credit = self
            .free
            .saturating_sub(self.made.saturating_sub(self.seen));
        if credit == 0 || self.jobs == 0 {
            return None;
        }
        self.jobs -= 1;
        self.made += 1;
        Some(self.made)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Jobs appear at one shard, and the board hears of it or not.
    Jobs(bool, u64, bool),
    /// The leader grants all it may.
    Grant(bool),
    /// The oldest message to a leader gets there.
    Offer,
    /// The oldest answer gets back.
    Answer,
    /// A grant arrives: the oldest or the newest.
    Arrive(bool),
    /// The worker finishes a job.
    Finish,
    /// The worker says how many slots are free.
    Credit,
    /// Time passes, in milliseconds: in one run less than it takes to write a message off.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), 1..6u64, any::<bool>()).prop_map(|(a, n, b)| Step::Jobs(a, n, b)),
        any::<bool>().prop_map(Step::Grant),
        Just(Step::Offer),
        Just(Step::Answer),
        any::<bool>().prop_map(Step::Arrive),
        Just(Step::Finish),
        Just(Step::Credit),
        (1..200u64).prop_map(Step::Pass),
    ]
}

struct World {
    story: Story,
    slots: u32,
    working: u32,
    received: u64,
    leaders: BTreeMap<ShardId, Leader>,
    offers: Vec<SlotOffer>,
    answers: Vec<(SlotOffer, OfferAnswer)>,
    grants: Vec<(ShardId, u64)>,
}

impl World {
    fn new(slots: u32) -> Self {
        Self {
            story: Story::new(),
            slots,
            working: 0,
            received: 0,
            leaders: [HOME, AWAY].map(|shard| (shard, Leader::default())).into(),
            offers: Vec::new(),
            answers: Vec::new(),
            grants: Vec::new(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Jobs(home, jobs, told) => self.jobs(shard(home), jobs, told),
            Step::Grant(home) => self.grant(shard(home)),
            Step::Offer => self.deliver_offer(),
            Step::Answer => self.deliver_answer(),
            Step::Arrive(oldest) => self.arrive(oldest),
            Step::Finish => self.working = self.working.saturating_sub(1),
            Step::Credit => self.credit(),
            Step::Pass(ms) => self.story.passes(Duration::from_millis(ms)),
        }
        let sent = self.story.poll();
        self.offers.extend(sent);
    }

    fn jobs(&mut self, shard: ShardId, jobs: u64, told: bool) {
        let leader = self.leaders.get_mut(&shard).unwrap();
        leader.jobs += jobs;
        if told {
            self.story
                .board
                .news(shard, chat(), leader.jobs, self.story.now);
        }
    }

    fn grant(&mut self, shard: ShardId) {
        let leader = self.leaders.get_mut(&shard).unwrap();
        while let Some(number) = leader.grant() {
            self.grants.push((shard, number));
        }
    }

    fn deliver_offer(&mut self) {
        if self.offers.is_empty() {
            return;
        }
        let offer = self.offers.remove(0);
        let answer = self.leaders.get_mut(&offer.shard).unwrap().take(&offer);
        self.answers.push((offer, answer));
    }

    fn deliver_answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let (offer, answer) = self.answers.remove(0);
        let now = self.story.now;
        self.story
            .lending
            .answered(offer.shard, offer.call, answer, now);
    }

    fn arrive(&mut self, oldest: bool) {
        let which = if oldest {
            0
        } else {
            self.grants.len().saturating_sub(1)
        };
        if which >= self.grants.len() {
            return;
        }
        let (shard, number) = self.grants.remove(which);
        assert_eq!(self.story.arrives(shard, number), Arrival::Taken);
        self.received += 1;
        self.working += 1;
        assert!(self.working <= self.slots, "more jobs than slots");
    }

    fn credit(&mut self) {
        self.story
            .says_free(self.slots - self.working, self.received);
    }

    /// Lets everything under way arrive, with no work left.
    fn settle(&mut self) {
        for leader in self.leaders.values_mut() {
            leader.jobs = 0;
        }
        for _ in 0..200 {
            for step in [Step::Arrive(true), Step::Finish, Step::Offer, Step::Answer] {
                self.run(step);
            }
            self.run(Step::Credit);
            self.run(Step::Pass(1_000));
        }
    }
}

fn shard(home: bool) -> ShardId {
    if home { HOME } else { AWAY }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_grant_arrives_without_a_slot_and_no_slot_is_forgotten(
        slots in 1..5u32,
        steps in proptest::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(slots);
        for step in steps {
            world.run(step);
        }
        world.settle();
        prop_assert_eq!(world.story.lending.lent(), slots, "{:?}", world.story.lending);
        let home = world.story.lending.loans[&HOME].exposure();
        prop_assert_eq!(home, u64::from(slots), "idle slots wait at home");
    }
}
