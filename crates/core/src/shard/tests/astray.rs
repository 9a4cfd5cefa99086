//! What is lost on the way: grants that reach nobody, and outcomes that the leader never hears of.

use leasehold_types::NodeId;

use super::desk::{Desk, offer, renewal};
use super::dispatching::numbers;
use super::fixture::{SECOND, digest, job, session, submit};
use crate::shard::command::{Cancel, Command, Complete, Release, ReleaseCause};
use crate::shard::dispatcher::Offer;
use crate::shard::job::JobState;

#[test]
fn job_whose_worker_left_before_the_commit_is_handed_back() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let proposed = desk.poll();
    desk.dispatcher.forget(session(1));
    assert!(desk.commit(proposed).0.is_empty());
    desk.offer(offer(2, 1));
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].session), (1, session(2)));
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn gateway_that_is_not_reached_lends_nothing_until_its_pause_is_over() {
    let mut desk = Desk::new();
    let gateway = NodeId::new(1);
    desk.shard.submit(submit(1));
    desk.dispatcher
        .missed_gateway(gateway, desk.shard.now, desk.shard.now);
    assert!(!desk.dispatcher.offer(offer(1, 1), desk.shard.now));
    assert!(desk.run().is_empty());
    desk.shard.pass(SECOND);
    assert!(desk.dispatcher.offer(offer(1, 1), desk.shard.now));
    assert_eq!(desk.run().len(), 1);
    assert!(desk.dispatcher.is_doubted(gateway), "it is on trial");
    desk.dispatcher.reached_gateway(gateway);
    assert!(!desk.dispatcher.is_doubted(gateway));
}

#[test]
fn job_that_reaches_no_worker_is_neither_dead_nor_lost_however_long_that_lasts() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    for _ in 0..60 {
        desk.dispatcher.offer(offer(1, 1), desk.shard.now);
        for grant in desk.run() {
            desk.dispatcher
                .missed_gateway(grant.gateway, desk.shard.now, desk.shard.now);
            let back = Release {
                job: grant.job,
                fence: grant.fence,
                reason: "the grant did not reach its worker".to_owned(),
                cause: ReleaseCause::Undelivered,
            };
            desk.commit(vec![Command::Release(back)]);
        }
        assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
        desk.run_for(60 * SECOND);
    }
    let seen = desk.shard.state.job(job(1)).unwrap();
    let tries = seen.tries;
    assert_eq!((tries.granted, tries.released, tries.lost), (60, 0, 0));
    assert_eq!(seen.history.len(), 1, "one line stands for all of them");
}

#[test]
fn grant_in_doubt_that_nobody_was_heard_of_goes_back_uncounted_after_its_lease() {
    for is_heard in [false, true] {
        let mut desk = Desk::new();
        desk.shard.submit(submit(1));
        desk.offer(offer(1, 1));
        let fence = desk.run()[0].fence;
        desk.dispatcher.doubt_delivery(job(1), fence);
        desk.run_for(29 * SECOND);
        if is_heard {
            desk.renew(1, renewal(job(1), fence, 1));
        }
        assert!(desk.shard.state.lease(job(1)).is_some());
        desk.run_for(31 * SECOND);
        assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
        let tries = desk.shard.state.job(job(1)).unwrap().tries;
        assert_eq!(tries.lost, u32::from(is_heard));
    }
}

#[test]
fn grant_whose_outcome_is_unknown_is_made_again_once_it_is_known_not_to_be() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let lost = desk.shard.batch(commands);
    assert!(desk.settle(&lost, Err(())).is_empty());
    desk.offer(offer(2, 1));
    assert!(desk.poll().is_empty(), "it may still be applied");
    assert_eq!(numbers(&desk.run_for(2 * SECOND)), [1]);
}

#[test]
fn grant_that_was_applied_after_all_is_handed_back_and_made_again() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.shard.state.apply(&late);
    let old = desk.shard.state.lease(job(1)).unwrap().fence;
    let assigned = desk.run_for(2 * SECOND);
    assert_eq!(numbers(&assigned), [1]);
    assert!(assigned[0].fence > old);
    let tries = desk.shard.state.job(job(1)).unwrap().tries;
    assert_eq!((tries.released, tries.lost), (0, 0));
}

#[test]
fn grant_applied_long_after_it_was_given_up_goes_back_uncounted() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.dispatcher.forget(session(1));
    desk.run_for(10 * SECOND);
    desk.shard.state.apply(&late);
    desk.run_for(6 * SECOND);
    assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn grant_refused_because_an_earlier_one_was_applied_after_all_hands_that_one_back() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.shard.pass(SECOND);
    let again = desk.poll();
    assert_eq!(again.len(), 1);
    desk.shard.state.apply(&late);
    assert!(desk.commit(again).0.is_empty());
    assert_eq!(numbers(&desk.run()), [1]);
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn lease_that_ended_unseen_does_not_hide_one_that_began_unseen() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.shard.submit(submit(1));
    let first = desk.run();
    desk.shard.submit(submit(2));
    desk.offer(Offer {
        granted_seen: 1,
        ..offer(1, 1)
    });
    let mut commands = desk.poll();
    commands.push(Command::Complete(Complete {
        job: job(1),
        fence: first[0].fence,
        result: vec![1].into(),
        digest: digest(1),
    }));
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.gate.quorum_fresh = false;
    desk.shard.pass(3 * SECOND);
    desk.poll();
    desk.shard.state.apply(&late);
    desk.run_for(6 * SECOND);
    assert_eq!(desk.shard.job_state(job(2)), &JobState::Ready);
    assert_eq!(desk.shard.state.job(job(2)).unwrap().tries.lost, 0);
}

#[test]
fn batches_may_be_settled_in_another_order_than_they_have_in_the_log() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let reason = String::new();
    let cancel = Cancel {
        job: job(1),
        reason,
    };
    let first = desk.shard.batch(vec![Command::Cancel(cancel)]);
    let grants = desk.poll();
    let second = desk.shard.batch(grants);
    // The first had to wait for a majority and was overtaken.
    let of_second = desk.shard.state.apply(&second);
    let of_first = desk.shard.state.apply(&first);
    assert!(desk.settle(&first, Ok(&of_first)).is_empty());
    assert!(desk.settle(&second, Ok(&of_second)).is_empty());
    assert!(desk.dispatcher.is_clear());
    assert_eq!(desk.dispatcher.free_slots(), 1);
}
