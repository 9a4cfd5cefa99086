//! How long ended jobs, keys and ids are kept, and what is left of them.

use leasehold_types::{IdempotencyKey, limits};

use super::fixture::{Fixture, SECOND, job, submit};
use crate::policy::QueuePolicy;
use crate::shard::command::{Command, FailureClass, Purge, Submit};
use crate::shard::outcome::{Outcome, Refusal};
use crate::shard::state::ShardState;

fn policy() -> QueuePolicy {
    QueuePolicy {
        retain_done: 60 * SECOND,
        retain_failed: 600 * SECOND,
        retain_keys: 120 * SECOND,
        ..QueuePolicy::default()
    }
}

fn purge(shard: &mut Fixture) -> (u32, u32, bool) {
    let limit = limits::PURGE_JOBS;
    let outcome = shard.one(Command::Purge(Purge { limit }));
    let Outcome::Purged { jobs, keys, more } = outcome else {
        panic!("not purged: {outcome:?}");
    };
    (jobs, keys, more)
}

fn done(shard: &mut Fixture, submit: Submit) {
    let number = submit.job.to_bytes()[13];
    shard.submit(submit);
    let fence = shard.lease(number);
    shard.complete(job(number), fence, 7);
}

fn keyed(number: u8) -> Submit {
    Submit {
        key: Some(IdempotencyKey::new(&format!("k{number}")).unwrap()),
        ..submit(number)
    }
}

#[test]
fn done_jobs_go_before_dead_ones_and_each_in_its_time() {
    let mut shard = Fixture::with_policy(policy());
    done(&mut shard, submit(1));
    let (dead, fence) = shard.leased_job(2);
    shard.fail(dead, fence, FailureClass::Permanent);
    shard.submit(submit(3));
    assert_eq!(purge(&mut shard), (0, 0, false));
    assert_eq!(shard.state.next_due(), Some(shard.now + 60 * SECOND));
    shard.pass(60 * SECOND);
    assert_eq!(purge(&mut shard), (1, 0, false));
    assert!(shard.state.job(job(1)).is_none());
    shard.pass(540 * SECOND);
    assert_eq!(purge(&mut shard), (1, 1, false));
    assert_eq!(shard.state.jobs().count(), 1);
}

#[test]
fn id_and_key_are_remembered_after_their_job_and_then_forgotten() {
    let mut shard = Fixture::with_policy(policy());
    done(&mut shard, keyed(1));
    shard.pass(60 * SECOND);
    purge(&mut shard);
    let kept = Outcome::Refused(Refusal::NoLongerKept(job(1)));
    assert_eq!(shard.submit(keyed(1)), kept);
    let by_key = Submit {
        job: job(2),
        ..keyed(1)
    };
    assert_eq!(shard.submit(by_key), kept);
    shard.pass(60 * SECOND);
    assert_eq!(purge(&mut shard), (0, 1, false));
    assert!(matches!(shard.submit(keyed(1)), Outcome::Submitted(_)));
}

#[test]
fn job_kept_longer_than_its_key_takes_it_along() {
    let mut shard = Fixture::with_policy(policy());
    shard.submit(keyed(1));
    let fence = shard.lease(1);
    shard.fail(job(1), fence, FailureClass::Permanent);
    shard.pass(600 * SECOND);
    assert_eq!(purge(&mut shard), (1, 0, false));
    assert_eq!(shard.state.stats().keys, 0);
    assert!(matches!(shard.submit(keyed(1)), Outcome::Submitted(_)));
}

#[test]
fn changed_retention_holds_for_jobs_that_ended_before() {
    let mut shard = Fixture::with_policy(policy());
    done(&mut shard, submit(1));
    shard.pass(60 * SECOND);
    shard.put_policy(QueuePolicy {
        retain_done: 90 * SECOND,
        ..policy()
    });
    assert_eq!(purge(&mut shard), (0, 0, false));
    shard.pass(30 * SECOND);
    assert_eq!(purge(&mut shard), (1, 0, false));
}

#[test]
fn purge_says_whether_its_limit_stopped_it() {
    let mut shard = Fixture::with_policy(policy());
    (1..=3).for_each(|number| done(&mut shard, submit(number)));
    shard.pass(60 * SECOND);
    let outcome = shard.one(Command::Purge(Purge { limit: 2 }));
    let (jobs, keys, more) = (2, 0, true);
    assert_eq!(outcome, Outcome::Purged { jobs, keys, more });
    assert_eq!(purge(&mut shard), (1, 0, false));
}

#[test]
fn ids_make_room_for_keys_and_keys_for_nothing() {
    let mut shard = Fixture::with_policy(policy());
    shard.state = shard.state.with_bounds(|bounds| bounds.keys = 2);
    for number in 1..=3 {
        done(&mut shard, submit(number));
        shard.pass(SECOND);
    }
    shard.pass(60 * SECOND);
    assert_eq!(purge(&mut shard).0, 3);
    let is_known = |state: &ShardState, number| {
        state.absent(job(number)) == Refusal::NoLongerKept(job(number))
    };
    let known: Vec<bool> = (1..=3).map(|n| is_known(&shard.state, n)).collect();
    assert_eq!(known, [false, true, true]);
    shard.submit(keyed(4));
    shard.submit(keyed(5));
    assert_eq!(shard.state.stats().keys, 2);
    assert!(!is_known(&shard.state, 3));
    assert!(matches!(
        shard.submit(keyed(6)),
        Outcome::Refused(Refusal::Full { .. })
    ));
}

#[test]
fn full_key_table_says_when_the_next_key_is_forgotten() {
    let mut shard = Fixture::with_policy(policy());
    shard.state = shard.state.with_bounds(|bounds| bounds.keys = 1);
    done(&mut shard, keyed(1));
    shard.pass(100 * SECOND);
    purge(&mut shard);
    let Outcome::Refused(refusal) = shard.submit(keyed(2)) else {
        panic!("not refused");
    };
    assert_eq!(refusal.retry_after(), Some(20 * SECOND));
    shard.pass(20 * SECOND);
    purge(&mut shard);
    assert!(matches!(shard.submit(keyed(2)), Outcome::Submitted(_)));
}
