//! The rules of lending, each by a short story; and all of them together under chance in `model`.

mod model;

use super::*;

const HOME: ShardId = ShardId::new(1);
const AWAY: ShardId = ShardId::new(2);
const E1: ShardEpoch = ShardEpoch::new(1);
const E2: ShardEpoch = ShardEpoch::new(2);
const LEASE: Duration = Duration::from_secs(30);

fn chat() -> QueueName {
    QueueName::new("chat").unwrap()
}

/// A session at a gateway that is home to the first shard, and a clock.
struct Story {
    lending: Lending,
    board: Board,
    now: Timestamp,
    message: u64,
}

impl Story {
    fn new() -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let mut board = Board::default();
        board.set_shards([(HOME, true), (AWAY, false)]);
        Self {
            lending: Lending::new(vec![chat()], Pace::of_lease(LEASE), 0, now),
            board,
            now,
            message: 0,
        }
    }

    /// With so many slots lent to the home shard, which has answered.
    fn lending_home(slots: u32) -> Self {
        let mut story = Self::new();
        story.says_free(slots, 0);
        story.expect_and_answer(HOME, 0, E1, 0);
        story.expect_and_answer(HOME, slots, E1, 0);
        assert!(story.poll().is_empty());
        story
    }

    fn says_free(&mut self, free: u32, received: u64) {
        self.message += 1;
        self.lending.heard(self.message, self.now);
        self.lending.credit(free, received, 0);
    }

    fn passes(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn poll(&mut self) -> Vec<SlotOffer> {
        self.lending.poll(&mut self.board, self.now)
    }

    fn only_offer(&mut self) -> SlotOffer {
        let offers = self.poll();
        assert_eq!(offers.len(), 1, "{offers:?}");
        offers[0]
    }

    fn answer(&mut self, offer: SlotOffer, epoch: ShardEpoch, granted: u64, backlog: u64) {
        let answer = OfferAnswer {
            epoch,
            granted,
            backlog,
            is_refused: false,
        };
        self.lending
            .answered(offer.shard, offer.call, answer, self.now);
    }

    fn expect_and_answer(&mut self, shard: ShardId, free: u32, epoch: ShardEpoch, granted: u64) {
        let offer = self.only_offer();
        assert_eq!((offer.shard, offer.free), (shard, free), "{offer:?}");
        self.answer(offer, epoch, granted, 0);
    }

    fn arrives(&mut self, shard: ShardId, grant: u64) -> Arrival {
        self.lending.arrived(shard, E1, grant, self.now)
    }

    fn work_away(&mut self, jobs: u64) {
        self.board.news(AWAY, chat(), jobs, self.now);
    }
}

#[test]
fn first_offer_asks_for_the_leaders_count_before_it_lends() {
    let mut story = Story::new();
    assert!(story.poll().is_empty(), "nothing is free yet");
    story.says_free(3, 0);
    let first = story.only_offer();
    assert_eq!(
        (first.shard, first.free, first.epoch),
        (HOME, 0, ShardEpoch::ZERO)
    );
    story.answer(first, E1, 7, 0);
    let second = story.only_offer();
    assert_eq!((second.free, second.granted_seen, second.epoch), (3, 7, E1));
}

#[test]
fn arrived_grant_takes_its_slot_without_a_new_offer() {
    let mut story = Story::lending_home(2);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    assert_eq!(story.lending.lent(), 1);
    assert!(story.poll().is_empty(), "the leader counts the same way");
}

#[test]
fn slot_that_comes_free_is_lent_again() {
    let mut story = Story::lending_home(1);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    story.says_free(1, 1);
    let offer = story.only_offer();
    assert_eq!((offer.shard, offer.free, offer.granted_seen), (HOME, 1, 1));
}

#[test]
fn slot_that_is_given_back_is_lent_again_without_a_word_of_the_worker() {
    let mut story = Story::lending_home(1);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    story.lending.give_back();
    let offer = story.only_offer();
    assert_eq!((offer.shard, offer.free, offer.granted_seen), (HOME, 1, 1));
}

#[test]
fn slot_that_was_given_back_and_then_said_to_be_free_is_one_slot() {
    let mut story = Story::lending_home(2);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    story.lending.give_back();
    // Said before the answer was read: one is taken still, as the worker sees it.
    story.lending.credit(1, 1, 0);
    assert_eq!(story.lending.lendable(story.now), 2);
    story.lending.credit(2, 1, 1);
    assert_eq!(story.lending.lendable(story.now), 2);
}

#[test]
fn slots_come_back_for_as_long_as_the_worker_says_nothing_new() {
    let mut story = Story::lending_home(1);
    for grant in 1..=3 * u64::from(limits::WORKER_CREDIT) {
        assert_eq!(story.arrives(HOME, grant), Arrival::Taken, "{grant}");
        assert_eq!(story.lending.lendable(story.now), 0);
        story.lending.give_back();
        assert_eq!(story.lending.lendable(story.now), 1);
    }
}

#[test]
fn worker_that_is_given_back_without_end_is_lent_no_more_than_a_worker_may_have() {
    let mut story = Story::lending_home(1);
    for _ in 0..=2 * limits::WORKER_CREDIT {
        story.lending.give_back();
    }
    assert_eq!(story.lending.lendable(story.now), limits::WORKER_CREDIT);
}

#[test]
fn worker_that_claims_more_returns_than_there_were_is_lent_no_more_for_it() {
    let mut story = Story::lending_home(1);
    story.lending.credit(1, 0, 9);
    assert_eq!(story.lending.lendable(story.now), 1);
}

#[test]
fn assignment_on_its_way_to_the_worker_is_not_counted_as_free() {
    let mut story = Story::lending_home(2);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    // Said before the worker had it: one of the two is taken.
    story.says_free(2, 0);
    assert_eq!(story.lending.lendable(story.now), 1);
    story.says_free(2, 1);
    assert_eq!(story.lending.lendable(story.now), 2);
}

#[test]
fn slot_moves_only_after_the_old_leader_has_answered() {
    let mut story = Story::lending_home(1);
    story.work_away(5);
    let offers = story.poll();
    let (lower, ask) = (offers[0], offers[1]);
    assert_eq!((lower.shard, lower.free), (HOME, 0));
    assert_eq!((ask.shard, ask.free), (AWAY, 0), "only asks for the count");
    story.answer(ask, E1, 0, 5);
    assert!(
        story.poll().is_empty(),
        "the slot is still the home leader's"
    );
    story.answer(lower, E1, 0, 0);
    story.expect_and_answer(AWAY, 1, E1, 0);
}

#[test]
fn slot_does_not_move_while_a_grant_of_the_old_leader_is_on_its_way() {
    let mut story = Story::lending_home(1);
    story.work_away(5);
    let offers = story.poll();
    story.answer(offers[1], E1, 0, 5);
    // The leader had granted once before it got the lower number.
    story.answer(offers[0], E1, 1, 0);
    assert!(story.poll().is_empty());
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    assert!(story.poll().is_empty(), "the slot is taken");
    story.says_free(1, 1);
    assert!(story.poll().iter().all(|offer| offer.shard == AWAY));
}

#[test]
fn grant_that_never_arrives_is_written_off_after_a_lease() {
    let mut story = Story::lending_home(1);
    story.says_free(0, 0);
    let lower = story.only_offer();
    story.answer(lower, E1, 1, 0);
    story.says_free(1, 0);
    assert!(
        story.poll().is_empty(),
        "a grant is on its way: {:?}",
        story.lending
    );
    story.passes(LEASE * 2);
    story.says_free(1, 0);
    let offer = story.only_offer();
    assert_eq!((offer.free, offer.granted_seen), (1, 1));
}

#[test]
fn unanswered_offer_holds_its_slots_until_the_leader_must_have_forgotten() {
    let mut story = Story::new();
    story.says_free(1, 0);
    story.expect_and_answer(HOME, 0, E1, 0);
    let lost = story.only_offer();
    story.lending.failed(HOME, lost.call, false, 0, story.now);
    assert_eq!(story.lending.lent(), 1);
    story.passes(LEASE * 2);
    story.says_free(0, 0);
    story.poll();
    assert_eq!(story.lending.lent(), 0);
}

#[test]
fn offer_that_certainly_did_not_arrive_holds_nothing() {
    let mut story = Story::new();
    story.says_free(1, 0);
    story.expect_and_answer(HOME, 0, E1, 0);
    let unsent = story.only_offer();
    story
        .lending
        .failed(HOME, unsent.call, true, u64::MAX, story.now);
    assert_eq!(story.lending.lent(), 0);
    assert!(story.poll().is_empty(), "not at once");
    let again = story.lending.next_deadline().unwrap();
    story.passes(again.since(story.now));
    assert_eq!(story.only_offer().free, 1);
}

#[test]
fn new_leader_is_lent_to_under_its_own_count_at_once() {
    let mut story = Story::lending_home(2);
    assert_eq!(story.arrives(HOME, 1), Arrival::Taken);
    story.says_free(2, 1);
    let offer = story.only_offer();
    assert_eq!((offer.epoch, offer.granted_seen), (E1, 1));
    story.answer(offer, E2, 0, 0);
    let again = story.only_offer();
    assert_eq!((again.epoch, again.granted_seen, again.free), (E2, 0, 2));
}

#[test]
fn slots_that_a_leader_refuses_go_elsewhere_and_come_back_in_a_while() {
    let mut story = Story::new();
    story.says_free(1, 0);
    story.expect_and_answer(HOME, 0, E1, 0);
    let refused = story.only_offer();
    let refusal = OfferAnswer {
        epoch: E1,
        granted: 0,
        backlog: 9,
        is_refused: true,
    };
    let (lending, now) = (&mut story.lending, story.now);
    lending.answered(HOME, refused.call, refusal, now);
    assert_eq!(story.lending.lent(), 0);
    story.expect_and_answer(AWAY, 0, E1, 0);
    story.expect_and_answer(AWAY, 1, E1, 0);

    for _ in 0..12 {
        story.passes(Pace::of_lease(LEASE).refresh);
        story.says_free(1, 0);
        for offer in story.poll() {
            story.answer(offer, E1, 0, 0);
        }
    }
    assert_eq!(story.lending.loans[&HOME].exposure(), 1);
    assert_eq!(story.lending.lent(), 1);
}

#[test]
fn news_of_work_bring_slots_back_to_a_shard_that_had_no_leader() {
    let mut story = Story::new();
    story.says_free(1, 0);
    for _ in 0..FAILURES {
        let lost = story.only_offer();
        assert_eq!(lost.shard, HOME);
        let (lending, now) = (&mut story.lending, story.now);
        lending.failed(HOME, lost.call, true, 0, now);
        story.passes(RETRY.cap);
    }
    story.expect_and_answer(AWAY, 0, E1, 0);
    story.expect_and_answer(AWAY, 1, E1, 0);
    story.board.news(HOME, chat(), 1, story.now);
    let offers = story.poll();
    let shards: Vec<ShardId> = offers.iter().map(|offer| offer.shard).collect();
    assert_eq!(shards, [HOME, AWAY], "{offers:?}");
}

#[test]
fn deposed_leader_that_still_answers_is_not_asked_in_a_tight_circle() {
    let mut story = Story::lending_home(1);
    assert_eq!(
        story.lending.arrived(HOME, E2, 1, story.now),
        Arrival::Taken
    );
    story.says_free(1, 1);
    let offer = story.only_offer();
    story.answer(offer, E1, 0, 0);
    assert!(story.poll().is_empty(), "not at once");
    story.passes(RETRY.base);
    assert_eq!(story.only_offer().epoch, E2);
}

#[test]
fn grant_without_a_free_slot_is_handed_back() {
    let mut story = Story::lending_home(1);
    story.says_free(0, 0);
    assert_eq!(story.arrives(HOME, 1), Arrival::NoSlot);
}

#[test]
fn idle_session_repeats_its_offer_once_a_refresh_and_only_while_the_worker_speaks() {
    let mut story = Story::lending_home(1);
    let refresh = Pace::of_lease(LEASE).refresh;
    story.passes(refresh);
    assert!(story.poll().is_empty(), "the worker has said nothing since");
    story.says_free(1, 0);
    story.expect_and_answer(HOME, 1, E1, 0);
    story.says_free(1, 0);
    assert!(story.poll().is_empty(), "not twice in a refresh");
    assert_eq!(story.lending.next_deadline(), Some(story.now + refresh));
}

#[test]
fn silent_worker_lends_nothing_after_a_lease() {
    let mut story = Story::lending_home(3);
    story.passes(LEASE * 2);
    let offers = story.poll();
    assert!(offers.iter().all(|offer| offer.free == 0), "{offers:?}");
    assert_eq!(story.lending.lendable(story.now), 0);
}

#[test]
fn worker_that_leaves_has_its_slots_taken_back() {
    let mut story = Story::lending_home(3);
    story.lending.close();
    story.expect_and_answer(HOME, 0, E1, 0);
    assert_eq!(story.lending.lent(), 0);
}

#[test]
fn slots_return_home_once_the_work_elsewhere_is_done() {
    let mut story = Story::lending_home(1);
    story.work_away(1);
    let offers = story.poll();
    story.answer(offers[0], E1, 0, 0);
    story.answer(offers[1], E1, 0, 1);
    let away = story.only_offer();
    story.answer(away, E1, 0, 0);
    story.passes(Pace::of_lease(LEASE).refresh);
    let back = story.only_offer();
    assert_eq!((back.shard, back.free), (AWAY, 0));
    story.answer(back, E1, 0, 0);
    let home = story.only_offer();
    assert_eq!((home.shard, home.free), (HOME, 1));
}

#[test]
fn slots_leave_a_leader_whose_work_they_cannot_do() {
    let mut story = Story::lending_home(1);
    story.work_away(9);
    let offers = story.poll();
    story.answer(offers[0], E1, 0, 0);
    story.answer(offers[1], E1, 0, 9);
    let away = story.only_offer();
    story.answer(away, E1, 0, 9);
    story.poll();
    for _ in 0..4 {
        story.passes(Pace::of_lease(LEASE).refresh);
        story.says_free(1, 0);
        for offer in story.poll() {
            story.answer(offer, E1, 0, 9 * u64::from(offer.shard == AWAY));
        }
    }
    assert_eq!(story.lending.loans[&AWAY].exposure(), 0);
}

#[test]
fn sessions_of_a_gateway_do_not_all_run_for_the_same_job() {
    let mut first = Story::lending_home(1);
    let mut second = Story::lending_home(1);
    first.work_away(1);
    assert!(first.poll().iter().any(|offer| offer.shard == AWAY));
    let claimed = first.poll();
    assert!(claimed.is_empty(), "asked already");
    for offer in [0, 1] {
        first.answer(asked(&first, offer), E1, 0, offer);
    }
    assert_eq!(first.only_offer().shard, AWAY);
    second.board = first.board.clone();
    assert!(second.poll().is_empty(), "the job is taken off the board");
}

/// The offers in flight of a session that has just turned to the other shard: home first.
fn asked(story: &Story, which: u64) -> SlotOffer {
    SlotOffer {
        shard: [HOME, AWAY][usize::try_from(which).unwrap()],
        call: story.lending.calls - 1 + which,
        epoch: E1,
        free: 0,
        granted_seen: 0,
        message: 0,
    }
}

#[test]
fn news_of_shards_that_stay_are_kept_for_a_while() {
    let mut board = Board::default();
    assert!(board.set_shards([(AWAY, false)]));
    let now = Timestamp::from_micros(5);
    board.news(AWAY, chat(), 4, now);
    assert!(board.set_shards([(HOME, true), (AWAY, false)]));
    assert!(!board.set_shards([(HOME, true), (AWAY, false)]));
    assert_eq!(board.backlog(AWAY, &[chat()], now), (4, now));
    let later = now + Duration::from_secs(60);
    assert_eq!(board.backlog(AWAY, &[chat()], later).0, 0);
    assert!(board.set_shards([(HOME, true)]));
    assert_eq!(board.backlog(AWAY, &[chat()], now).0, 0);
}

#[test]
fn offers_are_repeated_by_the_shortest_lease_and_void_by_the_longest() {
    let minute = Duration::from_secs(60);
    let pace = Pace::of_leases(Duration::from_secs(30), 10 * minute);
    assert_eq!(pace.refresh, Duration::from_secs(5));
    assert!(pace.void > 10 * minute);
}
