//! Slots that workers lend to a leader: absolute, spent once, and void when nothing is heard.

use leasehold_types::{NodeId, QueueName};

use super::desk::{Desk, offer, renewal};
use super::dispatching::{gpu, numbers};
use super::fixture::{SECOND, job, queue, session, submit};
use crate::policy::QueuePolicy;
use crate::requirement::Supply;
use crate::shard::command::{Command, PutPolicy};
use crate::shard::dispatcher::{Gate, Offer, RenewalAnswer};

#[test]
fn no_more_jobs_than_slots_are_given() {
    let mut desk = Desk::new();
    (1..=5).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    assert_eq!(numbers(&desk.run()), [1, 2]);
    assert!(desk.run().is_empty());
    assert_eq!(desk.dispatcher.free_slots(), 0);
}

#[test]
fn slot_is_not_spent_twice_however_offers_come_late_or_twice() {
    let mut desk = Desk::new();
    (1..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    assert_eq!(desk.run().len(), 2);
    // Counted before the worker saw the two grants: both slots are spent.
    desk.offer(offer(1, 2));
    assert!(desk.run().is_empty());
    // Counted after it saw one of them.
    let seen_one = Offer {
        granted_seen: 1,
        ..offer(1, 1)
    };
    desk.offer(seen_one);
    assert!(desk.run().is_empty());
    let seen_both = Offer {
        granted_seen: 2,
        ..offer(1, 1)
    };
    desk.offer(seen_both.clone());
    assert_eq!(desk.run().len(), 1);
    desk.dispatcher.offer(seen_both, desk.shard.now);
    assert!(desk.run().is_empty(), "an older message changes nothing");
}

#[test]
fn grants_are_numbered_and_those_on_their_way_count_as_made() {
    let mut desk = Desk::new();
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 3));
    let proposed = desk.poll();
    assert_eq!(desk.dispatcher.granted(session(1)), 3);
    let (assigned, _) = desk.commit(proposed);
    let grants: Vec<u64> = assigned.iter().map(|a| a.grant).collect();
    assert_eq!(grants, [1, 2, 3]);
    assert_eq!(desk.dispatcher.granted(session(1)), 3);
}

#[test]
fn session_that_comes_back_after_being_forgotten_spends_no_slot_twice() {
    let mut desk = Desk::new();
    (1..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    desk.run();
    desk.dispatcher.forget(session(1));
    desk.offer(Offer {
        granted_seen: 2,
        ..offer(1, 1)
    });
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].grant), (1, 3));
    assert!(desk.run().is_empty());
}

#[test]
fn credit_of_a_worker_that_was_silent_for_a_lease_is_void_until_it_offers_again() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.run_for(31 * SECOND);
    desk.shard.submit(submit(1));
    assert!(desk.run().is_empty());
    desk.offer(offer(1, 1));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn workers_of_a_gateway_that_is_gone_are_granted_nothing() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.offer(Offer {
        gateway: NodeId::new(2),
        ..offer(2, 1)
    });
    desk.dispatcher
        .missed_gateway(NodeId::new(1), desk.shard.now, desk.shard.now);
    desk.shard.submit(submit(1));
    desk.shard.submit(submit(2));
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].session), (1, session(2)));
    assert_eq!(desk.dispatcher.sessions(), 1);
}

#[test]
fn session_forgotten_while_a_grant_is_under_way_spends_no_slot_twice() {
    let mut desk = Desk::new();
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 1));
    let first = desk.poll();
    desk.dispatcher.forget(session(1));
    desk.offer(offer(1, 1));
    assert!(desk.poll().is_empty());
    assert_eq!(desk.dispatcher.granted(session(1)), 1);
    assert_eq!(desk.commit(first).0[0].grant, 1);
    assert!(desk.run().is_empty());
}

#[test]
fn offer_counts_although_a_renewal_overtook_it() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 5));
    let fence = desk.run()[0].fence;
    let lower = Offer {
        message: 2,
        granted_seen: 1,
        ..offer(1, 0)
    };
    let (state, now) = (&desk.shard.state, desk.shard.now);
    let renewals = [renewal(job(1), fence, 1)];
    (desk.dispatcher).renew(state, session(1), &renewals, 3, Gate::OPEN, now);
    assert!(desk.dispatcher.offer(lower, now));
    (2..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    assert!(desk.run().is_empty(), "it was told to grant no more");
}

#[test]
fn of_two_offers_from_one_message_the_later_stands() {
    let mut desk = Desk::new();
    let sent = |number, free| Offer {
        message: 7,
        number,
        ..offer(1, free)
    };
    assert!(desk.dispatcher.offer(sent(2, 0), desk.shard.now));
    assert!(!desk.dispatcher.offer(sent(1, 5), desk.shard.now));
    assert_eq!(desk.dispatcher.free_slots(), 0);
}

#[test]
fn session_stands_in_one_queue_once_however_often_it_offers() {
    let mut desk = Desk::new();
    desk.offer(offer(50, 1));
    for _ in 0..100 {
        desk.offer(offer(1, 1));
        desk.offer(gpu(1, 1));
        desk.dispatcher.forget(session(1));
    }
    assert_eq!(desk.dispatcher.queued(), 1);
    desk.offer(gpu(1, 1));
    desk.offer(offer(1, 1));
    assert_eq!(desk.dispatcher.queued(), 2);
}

#[test]
fn renewing_worker_is_heard_though_it_offers_nothing_new() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 2));
    let assigned = desk.run();
    for _ in 0..10 {
        desk.run_for(5 * SECOND);
        let answer = desk.renew(1, renewal(job(1), assigned[0].fence, 1));
        assert!(matches!(answer, RenewalAnswer::Keep { .. }));
    }
    desk.shard.submit(submit(2));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn idle_worker_of_short_and_long_leases_is_granted_jobs_between_its_offers() {
    let mut desk = Desk::new();
    let video = QueueName::new("video").unwrap();
    let policy = QueuePolicy {
        lease: 600 * SECOND,
        ..QueuePolicy::default()
    };
    desk.shard.one(Command::PutPolicy(Box::new(PutPolicy {
        queue: video.clone(),
        policy,
        index: 50,
    })));
    desk.offer(Offer {
        queues: vec![queue(), video],
        ..offer(1, 1)
    });
    desk.run_for(99 * SECOND);
    desk.shard.submit(submit(1));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn session_beyond_the_bound_is_told_that_nothing_is_lent() {
    let mut desk = Desk::new();
    let bound = u32::try_from(leasehold_types::limits::SESSIONS).unwrap();
    for worker in 0..bound {
        assert!(desk.dispatcher.offer(offer(worker, 0), desk.shard.now));
    }
    assert!(!desk.dispatcher.offer(offer(bound, 1), desk.shard.now));
    desk.dispatcher.forget(session(0));
    assert!(desk.dispatcher.offer(offer(bound, 1), desk.shard.now));
}

#[test]
fn round_over_the_classes_ends_with_the_last_job() {
    let mut desk = Desk::new();
    for worker in 0..1_000 {
        let host = format!("h{worker}");
        let supply = Supply {
            labels: [("host".into(), host.as_str().into())].into(),
            ..Supply::default()
        };
        desk.offer(Offer {
            supply,
            ..offer(worker, 1)
        });
    }
    desk.shard.submit(submit(1));
    assert_eq!(desk.run().len(), 1);
    assert!(desk.dispatcher.sessions_tried() < 10);
}
