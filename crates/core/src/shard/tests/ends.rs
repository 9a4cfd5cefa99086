//! Cancelling, redriving and discarding.

use leasehold_types::{ErrorCode, limits};

use super::fixture::{Fixture, SECOND, digest, job, submit};
use crate::shard::command::{Cancel, Command, Discard, FailureClass, Redrive, Submit};
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Change, Outcome, Refusal};

fn cancel(shard: &mut Fixture, number: u8) -> Outcome {
    let reason = "not needed".to_owned();
    let job = job(number);
    shard.one(Command::Cancel(Cancel { job, reason }))
}

fn redrive(shard: &mut Fixture, number: u8) -> Outcome {
    let job = job(number);
    shard.one(Command::Redrive(Redrive { job }))
}

fn discard(shard: &mut Fixture, number: u8) -> Outcome {
    let job = job(number);
    shard.one(Command::Discard(Discard { job }))
}

fn dead_letter(shard: &mut Fixture, number: u8) {
    let (job, fence) = shard.leased_job(number);
    shard.fail(job, fence, FailureClass::Permanent);
}

fn is_wrong_state(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Refusal::WrongState { .. }))
}

#[test]
fn job_is_cancelled_in_every_state_before_its_end_and_again() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        delay: SECOND,
        ..submit(1)
    });
    shard.submit(submit(2));
    shard.leased_job(3);
    for number in 1..=3 {
        assert_eq!(
            cancel(&mut shard, number),
            Outcome::Cancelled { repeated: false }
        );
        assert_eq!(
            cancel(&mut shard, number),
            Outcome::Cancelled { repeated: true }
        );
    }
    let history = shard.state.job(job(3)).unwrap().history;
    assert_eq!(history[0].end, AttemptEnd::Cancelled);
}

#[test]
fn cancelling_a_leased_job_frees_its_worker() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    let reason = String::new();
    let applied = shard.apply(vec![Command::Cancel(Cancel { job, reason })]);
    let session = super::fixture::session(1);
    let ended = Change::LeaseEnded {
        job,
        fence,
        session,
    };
    assert_eq!(applied.changes, [ended, Change::Finished(job)]);
}

#[test]
fn finished_and_dead_jobs_cannot_be_cancelled() {
    let mut shard = Fixture::new();
    let (done, fence) = shard.leased_job(1);
    shard.complete(done, fence, 7);
    dead_letter(&mut shard, 2);
    assert!(is_wrong_state(&cancel(&mut shard, 1)));
    assert!(is_wrong_state(&cancel(&mut shard, 2)));
    let unknown = cancel(&mut shard, 3);
    assert_eq!(unknown, Outcome::Refused(Refusal::UnknownJob(job(3))));
}

#[test]
fn dead_letter_is_redriven_with_its_history_and_all_its_attempts_before_it() {
    let mut shard = Fixture::new();
    dead_letter(&mut shard, 1);
    shard.pass(3_600 * SECOND);
    assert_eq!(redrive(&mut shard, 1), Outcome::Redriven);
    let view = shard.state.job(job(1)).unwrap();
    assert_eq!((view.tries.failed, view.tries.redriven), (0, 1));
    assert_eq!(
        (view.history.len(), view.remaining),
        (1, 24 * 3_600 * SECOND)
    );
    assert!(is_wrong_state(&redrive(&mut shard, 1)));
    let fence = shard.lease(1);
    assert_eq!(
        shard.complete(job(1), fence, 7),
        Outcome::Completed { repeated: false }
    );
    assert_eq!(shard.state.job(job(1)).unwrap().history[1].number, 2);
}

#[test]
fn dead_letter_is_redriven_only_so_often() {
    let mut shard = Fixture::new();
    dead_letter(&mut shard, 1);
    for _ in 0..limits::REDRIVES {
        assert_eq!(redrive(&mut shard, 1), Outcome::Redriven);
        let fence = shard.lease(1);
        shard.fail(job(1), fence, FailureClass::Permanent);
    }
    let times = limits::REDRIVES;
    let refusal = Refusal::TooManyRedrives { job: job(1), times };
    assert_eq!(refusal.code(), ErrorCode::FailedPrecondition);
    assert_eq!(redrive(&mut shard, 1), Outcome::Refused(refusal));
}

#[test]
fn only_dead_letters_are_redriven_or_discarded() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    assert!(is_wrong_state(&redrive(&mut shard, 1)));
    assert!(is_wrong_state(&discard(&mut shard, 1)));
    cancel(&mut shard, 1);
    assert!(is_wrong_state(&redrive(&mut shard, 1)));
    assert!(is_wrong_state(&discard(&mut shard, 1)));
    assert!(matches!(
        shard.job_state(job(1)),
        JobState::Cancelled { .. }
    ));
}

#[test]
fn discarded_job_is_gone_and_its_id_is_not_free() {
    let mut shard = Fixture::new();
    dead_letter(&mut shard, 1);
    assert_eq!(discard(&mut shard, 1), Outcome::Discarded);
    assert!(shard.state.job(job(1)).is_none());
    let kept = Outcome::Refused(Refusal::NoLongerKept(job(1)));
    assert_eq!(shard.submit(submit(1)), kept);
    let other = Submit {
        digest: digest(99),
        ..submit(1)
    };
    let refused = shard.submit(other);
    assert_eq!(refused, Outcome::Refused(Refusal::OtherPayload(job(1))));
    assert_eq!(
        Refusal::NoLongerKept(job(1)).code(),
        ErrorCode::FailedPrecondition
    );
}
