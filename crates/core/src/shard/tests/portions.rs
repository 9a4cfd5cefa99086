//! What is written of a shard and let go of, case by case.

use bytes::Bytes;

use super::fixture::{Fixture, SECOND, grant, job, submit};
use super::store::{Rows, everything, write_down};
use crate::policy::QueuePolicy;
use crate::shard::command::{Command, ExpireReason, Fail, FailureClass, Purge, Redrive, Submit};
use crate::shard::job::Length;
use crate::shard::outcome::{Next, Outcome};
use crate::shard::state::{FrozenEntry, Kept, RUN};

fn finish(shard: &mut Fixture, number: u8) {
    let (job, fence) = shard.leased_job(number);
    shard.complete(job, fence, number);
}

/// Purges what has ended, and forgets it.
fn purge_all(shard: &mut Fixture) {
    shard.pass(48 * 3_600 * SECOND);
    let purge = || Command::Purge(Purge { limit: 1_000 });
    shard.one(purge());
    shard.pass(48 * 3_600 * SECOND);
    shard.one(purge());
}

fn short_lived() -> Fixture {
    Fixture::with_policy(QueuePolicy {
        retain_done: SECOND,
        ..QueuePolicy::default()
    })
}

#[test]
fn job_that_comes_and_goes_between_two_checkpoints_is_never_written() {
    let mut shard = short_lived();
    for number in 1..=40 {
        shard.submit(submit(number));
        finish(&mut shard, number);
    }
    purge_all(&mut shard);
    shard.state.freeze();
    assert!(everything(&mut shard.state).is_empty());
}

#[test]
fn run_that_went_before_the_freeze_and_came_again_is_the_next_checkpoint_s() {
    let mut shard = short_lived();
    finish(&mut shard, 1);
    purge_all(&mut shard);
    shard.state.freeze();
    shard.submit(submit(2));
    assert!(everything(&mut shard.state).is_empty());
    let frozen = shard.state.freeze();
    let portion = everything(&mut shard.state);
    let kept = portion[0].entries.iter().map(FrozenEntry::kept);
    let sequences: Vec<u64> = kept.map(|kept| kept.sequence()).collect();
    assert_eq!((frozen.head.arrivals, sequences), (2, vec![1]));
}

#[test]
fn memory_holds_no_payload_once_it_is_written() {
    let mut shard = Fixture::new();
    for number in 0..40 {
        shard.submit(submit(number));
    }
    assert_eq!(shard.state.unsaved_bytes(), 40);
    let written = write_down(&mut shard.state);
    assert_eq!(written.len() as u64, 40_u64.div_ceil(RUN));
    assert_eq!(shard.state.unsaved_bytes(), 0);
    let elsewhere = shard.state.elsewhere(job(7)).unwrap();
    assert_eq!(
        (elsewhere.sequence, elsewhere.stored.payload),
        (7, Some(Length::new(1)))
    );
}

#[test]
fn empty_payload_has_no_row_and_is_not_read_back() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        payload: Bytes::new(),
        ..submit(1)
    });
    let mut rows = Rows::default();
    rows.write_all(&mut shard.state);
    assert!(rows.payloads.is_empty());
    assert_eq!(shard.state.elsewhere(job(1)), None);
    assert!(shard.state.job(job(1)).unwrap().payload.is_empty());
}

/// A job that failed under a message so long, and is ready again.
fn fail_at_length(shard: &mut Fixture, number: u8) {
    let fence = shard.lease(number);
    shard.one(Command::Fail(Box::new(Fail {
        job: job(number),
        fence,
        class: FailureClass::Transient,
        message: "x".repeat(1_000),
        detail: Bytes::from(vec![0; 1_000]),
        retry_after: None,
    })));
    shard.pass(3_600 * SECOND);
    shard.apply(Vec::new());
}

#[test]
fn memory_holds_no_attempt_of_any_job_once_it_is_written() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let mut rows = Rows::default();
    for attempts in 1..=3 {
        fail_at_length(&mut shard, 1);
        assert!(shard.state.unsaved_bytes() > 2_000);
        rows.write_all(&mut shard.state);
        assert_eq!(shard.state.unsaved_bytes(), 0);
        assert!(shard.state.job(job(1)).unwrap().history.is_empty());
        let whole = rows.whole(&shard.state, job(1)).unwrap();
        assert_eq!(whole.history.len(), attempts);
    }
    let row = &rows.runs[&0].kept[0];
    let Kept::Held(held, _) = row else {
        panic!("not held: {row:?}");
    };
    assert!(held.body().attempts.is_empty());
}

#[test]
fn what_a_run_s_own_row_held_is_let_go_of_with_the_next_checkpoint() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    fail_at_length(&mut shard, 1);
    let mut read = shard.state.rebuilt();
    assert!(read.unsaved_bytes() > 2_000);
    assert_eq!(write_down(&mut read).len(), 1);
    assert_eq!(read.unsaved_bytes(), 0);
}

#[test]
fn rules_go_by_the_newest_attempts_wherever_those_are() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    fail_at_length(&mut shard, 1);
    write_down(&mut shard.state);
    let header = shard.state.header(job(1)).unwrap();
    assert_eq!(header.recent.as_ref().unwrap().worker, grant(1).worker);
    shard.pass(QueuePolicy::default().job_deadline);
    let ended = shard.expire(job(1), None, ExpireReason::Deadline);
    let dead = Next::Dead(FailureClass::Transient);
    assert_eq!(ended, Outcome::AttemptEnded(dead));
    shard.one(Command::Redrive(Redrive { job: job(1) }));
    let header = shard.state.header(job(1)).unwrap();
    assert_eq!(header.recent, None);
}

#[test]
fn portion_looks_at_no_more_runs_than_it_was_asked_to() {
    let mut shard = short_lived();
    for number in 0..80 {
        shard.submit(submit(number));
        finish(&mut shard, number);
    }
    purge_all(&mut shard);
    shard.state.freeze();
    // Five runs came and went: nothing is in these portions, and they are not the end.
    for _ in 0..5 {
        assert!(shard.state.take_frozen(1).unwrap().is_empty());
    }
    assert!(shard.state.take_frozen(1).is_none());
}

#[test]
fn rows_of_purged_jobs_are_removed() {
    let mut shard = short_lived();
    let mut rows = Rows::default();
    let mut write = |shard: &mut Fixture| {
        rows.write_all(&mut shard.state);
        rows.clone()
    };
    for number in 0..40 {
        shard.submit(submit(number));
    }
    assert_eq!(write(&mut shard).payloads.len(), 3);
    for number in 0..40 {
        finish(&mut shard, number);
    }
    let done = write(&mut shard);
    assert_eq!(
        (done.payloads.len(), done.results.len(), done.packs.len()),
        (0, 3, 3)
    );
    purge_all(&mut shard);
    let empty = write(&mut shard);
    assert!(empty.runs.is_empty() && empty.results.is_empty() && empty.packs.is_empty());
}
