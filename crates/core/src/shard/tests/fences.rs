//! Only the current lease may write.

use bytes::Bytes;
use leasehold_types::{ErrorCode, FenceToken, limits};

use super::fixture::{Fixture, digest, job, submit};
use crate::shard::command::{
    Cancel, Command, Complete, Contact, ExpireReason, FailureClass, Release, ReleaseCause,
    WorkPhase,
};
use crate::shard::job::JobState;
use crate::shard::outcome::{Outcome, Refusal, Stale};

fn stale(outcome: &Outcome) -> Stale {
    let Outcome::Refused(refusal) = outcome else {
        panic!("not refused: {outcome:?}");
    };
    assert_eq!(refusal.code(), ErrorCode::StaleFence);
    let Refusal::StaleFence { why, .. } = refusal else {
        panic!("not stale: {refusal}");
    };
    *why
}

/// What each write of a worker under a fence is answered.
fn all_writes(shard: &mut Fixture, number: u8, fence: FenceToken) -> Vec<Outcome> {
    let job = job(number);
    let contact = Contact {
        job,
        fence,
        progress: 1,
        progressed_at: shard.now,
        phase: WorkPhase::Running,
    };
    let release = Release {
        job,
        fence,
        reason: String::new(),
        cause: ReleaseCause::Worker,
    };
    vec![
        shard.complete(job, fence, 7),
        shard.fail(job, fence, FailureClass::Transient),
        shard.one(Command::Contact(contact)),
        shard.one(Command::Release(release)),
        shard.expire(job, Some(fence), ExpireReason::Silent),
    ]
}

#[test]
fn every_write_under_an_old_fence_is_refused() {
    let mut shard = Fixture::new();
    let (job, old) = shard.leased_job(1);
    shard.expire(job, Some(old), ExpireReason::Silent);
    for outcome in all_writes(&mut shard, 1, old) {
        assert_eq!(stale(&outcome), Stale::Ended);
    }
    let new = shard.lease(1);
    let before = shard.state.clone();
    for outcome in all_writes(&mut shard, 1, old) {
        assert_eq!(stale(&outcome), Stale::Superseded(new));
    }
    assert_eq!(before, shard.state);
    assert!(new > old);
}

#[test]
fn completion_of_a_cancelled_job_is_refused() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    let reason = "changed my mind".to_owned();
    let cancelled = shard.one(Command::Cancel(Cancel { job, reason }));
    assert_eq!(cancelled, Outcome::Cancelled { repeated: false });
    assert_eq!(stale(&shard.complete(job, fence, 7)), Stale::Cancelled);
    assert!(matches!(shard.job_state(job), JobState::Cancelled { .. }));
}

#[test]
fn accepted_result_is_accepted_again_and_never_changes() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    let first = shard.complete(job, fence, 7);
    assert_eq!(first, Outcome::Completed { repeated: false });
    let again = shard.complete(job, fence, 7);
    assert_eq!(again, Outcome::Completed { repeated: true });
    assert_eq!(stale(&shard.complete(job, fence, 8)), Stale::Done);
    assert_eq!(stale(&all_writes(&mut shard, 1, fence)[1]), Stale::Done);
    let JobState::Done(done) = shard.job_state(job) else {
        panic!("not done");
    };
    assert_eq!(done.digest, digest(7));
}

#[test]
fn completion_and_expiry_are_decided_by_their_order() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    shard.complete(job, fence, 7);
    let expired = shard.expire(job, Some(fence), ExpireReason::Silent);
    assert_eq!(stale(&expired), Stale::Done);
}

#[test]
fn write_for_an_unknown_job_is_stale() {
    let mut shard = Fixture::new();
    let (_, fence) = shard.leased_job(1);
    for outcome in all_writes(&mut shard, 2, fence) {
        assert_eq!(stale(&outcome), Stale::Unknown);
    }
}

#[test]
fn result_over_its_limit_is_refused_and_the_lease_goes_on() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    let outcome = shard.one(Command::Complete(Complete {
        job,
        fence,
        result: Bytes::from(vec![0; limits::INLINE_BYTES + 1]),
        digest: digest(7),
    }));
    let Outcome::Refused(refusal) = outcome else {
        panic!("not refused");
    };
    assert_eq!(refusal.code(), ErrorCode::InvalidArgument);
    assert!(shard.state.held(job, fence).is_ok());
}

#[test]
fn fences_rise_over_leaderships_though_each_counts_anew() {
    let mut shard = Fixture::new();
    let mut fences = Vec::new();
    for number in 1..=6 {
        fences.push(shard.leased_job(number).1);
        if number % 2 == 0 {
            shard.take_over();
        }
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
    assert_eq!(fences[2].sequence(), 1);
}

#[test]
fn command_of_another_epoch_changes_nothing_not_even_the_clock() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let mut batch = shard.batch(vec![Command::Grant(Box::new(super::fixture::grant(1)))]);
    shard.take_over();
    let before = shard.state.clone();
    batch.stamp = batch.stamp + super::fixture::SECOND;
    let applied = shard.state.apply(&batch);
    let (given, current) = (batch.epoch, shard.state.epoch());
    let refused = Outcome::Refused(Refusal::Epoch { given, current });
    assert_eq!(applied.outcomes, [refused]);
    assert_eq!((applied.changes, &shard.state), (Vec::new(), &before));
}

#[test]
fn lease_taken_over_keeps_its_fence() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    shard.take_over();
    let completed = shard.complete(job, fence, 7);
    assert_eq!(completed, Outcome::Completed { repeated: false });
}
