//! How a job goes on when an attempt comes to nothing.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::limits;

use super::fixture::{Fixture, SECOND, job, submit};
use crate::policy::QueuePolicy;
use crate::retry::RETRY_AFTER_MAX;
use crate::shard::command::{
    Command, ExpireReason, Fail, FailureClass, Release, ReleaseCause, Submit,
};
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Next, Outcome, Refusal};
use crate::shard::view::JobStatus;

/// Leases the job, however long it has to wait for that, and ends the lease.
fn try_once(shard: &mut Fixture, end: impl Fn(&mut Fixture) -> Outcome) -> Outcome {
    if let JobState::Waiting { due } = shard.job_state(job(1)) {
        shard.now = *due;
        shard.apply(Vec::new());
    }
    shard.lease(1);
    end(shard)
}

fn fence(shard: &Fixture) -> leasehold_types::FenceToken {
    shard.state.lease(job(1)).unwrap().fence
}

fn fail_with(class: FailureClass) -> impl Fn(&mut Fixture) -> Outcome {
    move |shard| {
        let fence = fence(shard);
        shard.fail(job(1), fence, class)
    }
}

fn expire_with(reason: ExpireReason) -> impl Fn(&mut Fixture) -> Outcome {
    move |shard| {
        let fence = fence(shard);
        shard.expire(job(1), Some(fence), reason)
    }
}

/// How often it is tried until it is dead, and as what.
fn tries_until_dead(end: impl Fn(&mut Fixture) -> Outcome) -> (u32, FailureClass) {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    for number in 1..100 {
        if let Outcome::AttemptEnded(Next::Dead(class)) = try_once(&mut shard, &end) {
            return (number, class);
        }
    }
    panic!("tried for ever");
}

#[test]
fn transient_failures_use_up_the_attempts_and_back_off_between_them() {
    let transient = FailureClass::Transient;
    assert_eq!(tries_until_dead(fail_with(transient)), (5, transient));
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let outcome = try_once(&mut shard, fail_with(transient));
    assert!(
        matches!(outcome, Outcome::AttemptEnded(Next::Waiting { due })
        if due <= shard.now + SECOND)
    );
}

#[test]
fn permanent_failures_are_dead_at_once() {
    use FailureClass::{Budget, ContextOverflow, Permanent, Poison, Policy};
    for class in [Permanent, Policy, ContextOverflow, Budget, Poison] {
        assert_eq!(tries_until_dead(fail_with(class)), (1, class));
    }
}

#[test]
fn lost_leases_end_as_poison_and_the_first_waits_for_nothing() {
    let lost = [
        ExpireReason::Silent,
        ExpireReason::Stalled,
        ExpireReason::AttemptLimit,
    ];
    for reason in lost {
        let dead = tries_until_dead(expire_with(reason));
        assert_eq!(dead, (3, FailureClass::Poison));
    }
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let silent = expire_with(ExpireReason::Silent);
    let first = try_once(&mut shard, &silent);
    assert_eq!(first, Outcome::AttemptEnded(Next::Ready));
    let second = try_once(&mut shard, &silent);
    assert!(matches!(
        second,
        Outcome::AttemptEnded(Next::Waiting { .. })
    ));
}

#[test]
fn verdicts_blame_the_region_and_not_the_job() {
    let dead = tries_until_dead(expire_with(ExpireReason::Verdict));
    let faults = limits::INFRASTRUCTURE_FAULTS;
    assert_eq!(dead, (faults, FailureClass::Infrastructure));
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let outcome = try_once(&mut shard, expire_with(ExpireReason::Verdict));
    assert_eq!(outcome, Outcome::AttemptEnded(Next::Ready));
    assert_eq!(shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn worker_may_ask_for_a_longer_wait_up_to_a_bound() {
    for (asked, given) in [
        (30 * SECOND, 30 * SECOND),
        (limits::DELAY_MAX, RETRY_AFTER_MAX),
    ] {
        let mut shard = Fixture::new();
        let (job, fence) = shard.leased_job(1);
        let outcome = shard.one(Command::Fail(Box::new(Fail {
            job,
            fence,
            class: FailureClass::Transient,
            message: String::new(),
            detail: Bytes::new(),
            retry_after: Some(asked),
        })));
        let due = shard.now + given;
        assert_eq!(outcome, Outcome::AttemptEnded(Next::Waiting { due }));
    }
}

#[test]
fn backoff_is_the_same_on_every_replica_and_differs_between_entries() {
    let due_with = |seed: u64| {
        let mut shard = Fixture::new();
        let (job, fence) = shard.leased_job(1);
        let mut batch = shard.batch(vec![Command::Fail(Box::new(Fail {
            job,
            fence,
            class: FailureClass::Transient,
            message: String::new(),
            detail: Bytes::new(),
            retry_after: None,
        }))]);
        batch.seed = seed;
        shard.state.apply(&batch).outcomes
    };
    assert_eq!(due_with(1), due_with(1));
    assert_ne!(due_with(1), due_with(2));
}

#[test]
fn job_handed_back_keeps_its_place_and_its_attempts_up_to_a_bound() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let release = |shard: &mut Fixture| {
        let (job, fence) = (job(1), fence(shard));
        let reason = "draining".to_owned();
        shard.one(Command::Release(Release {
            job,
            fence,
            reason,
            cause: ReleaseCause::Worker,
        }))
    };
    for _ in 0..limits::RELEASES {
        let outcome = try_once(&mut shard, release);
        assert_eq!(outcome, Outcome::AttemptEnded(Next::Ready));
    }
    let times = limits::RELEASES;
    let refused = Refusal::TooManyReleases { job: job(1), times };
    assert_eq!(try_once(&mut shard, release), Outcome::Refused(refused));
    let tries = shard.state.job(job(1)).unwrap().tries;
    assert_eq!((tries.failed, tries.lost, tries.released), (0, 0, times));
    assert!(shard.state.lease(job(1)).is_some());
}

#[test]
fn grants_that_reach_nobody_push_nothing_out_of_a_job_s_history() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    try_once(&mut shard, fail_with(FailureClass::Transient));
    let reasons = ["one reason", "the other reason"];
    for reason in reasons.iter().cycle().take(2 * limits::HISTORY) {
        try_once(&mut shard, |shard| {
            let (job, fence) = (job(1), fence(shard));
            shard.one(Command::Release(Release {
                job,
                fence,
                reason: (*reason).to_owned(),
                cause: ReleaseCause::Undelivered,
            }))
        });
    }
    let history = shard.state.job(job(1)).unwrap().history;
    assert_eq!(history.len(), 2);
    assert!(matches!(history[0].end, AttemptEnd::Failed { .. }));
    let newest = AttemptEnd::Released {
        reason: "the other reason".into(),
    };
    assert_eq!(history[1].end, newest, "also when they differ");
}

#[test]
fn deadline_ends_a_job_that_waits_is_ready_or_is_leased() {
    let delays = [30 * SECOND, Duration::ZERO, Duration::ZERO];
    for (number, delay) in (1..).zip(delays) {
        let mut shard = Fixture::new();
        shard.submit(Submit {
            deadline: Some(60 * SECOND),
            delay,
            ..submit(number)
        });
        let fence = (number == 3).then(|| shard.lease(number));
        let early = shard.expire(job(number), fence, ExpireReason::Deadline);
        assert!(matches!(
            early,
            Outcome::Refused(Refusal::WrongState { .. })
        ));
        shard.pass(60 * SECOND);
        let late = shard.expire(job(number), fence, ExpireReason::Deadline);
        let dead = Next::Dead(FailureClass::Transient);
        assert_eq!(late, Outcome::AttemptEnded(dead));
    }
}

#[test]
fn dead_letter_says_how_many_losses_killed_it() {
    for (max_losses, said) in [(1, "1 lost lease;"), (2, "2 lost leases;")] {
        let mut shard = Fixture::with_policy(QueuePolicy {
            max_losses,
            ..QueuePolicy::default()
        });
        shard.submit(submit(1));
        for _ in 0..max_losses {
            try_once(&mut shard, expire_with(ExpireReason::Silent));
        }
        let JobState::Dead { reason, .. } = shard.job_state(job(1)) else {
            panic!("not dead");
        };
        assert!(reason.contains(said), "{reason}");
    }
}

#[test]
fn deadline_kills_under_the_class_of_the_last_failure_and_says_so() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        deadline: Some(60 * SECOND),
        ..submit(1)
    });
    let failed = try_once(&mut shard, fail_with(FailureClass::Semantic));
    assert!(matches!(
        failed,
        Outcome::AttemptEnded(Next::Waiting { .. })
    ));
    shard.pass(60 * SECOND);
    let dead = shard.expire(job(1), None, ExpireReason::Deadline);
    let next = Next::Dead(FailureClass::Semantic);
    assert_eq!(dead, Outcome::AttemptEnded(next));
    let view = shard.state.job(job(1)).unwrap();
    let JobStatus::Dead { reason, .. } = view.status else {
        panic!("not dead");
    };
    assert_eq!(
        reason,
        "deadline of 60s passed while the job was ready, after 1 attempt"
    );
}

#[test]
fn job_past_its_deadline_is_granted_to_nobody() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        deadline: Some(SECOND),
        ..submit(1)
    });
    shard.pass(SECOND);
    assert!(matches!(
        shard.grant(1),
        Outcome::Refused(Refusal::WrongState { .. })
    ));
}

#[test]
fn only_a_deadline_ends_a_job_without_a_lease() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let silent = shard.expire(job(1), None, ExpireReason::Silent);
    assert!(matches!(
        silent,
        Outcome::Refused(Refusal::WrongState { .. })
    ));
    shard.lease(1);
    let unfenced = shard.expire(job(1), None, ExpireReason::Deadline);
    assert!(matches!(
        unfenced,
        Outcome::Refused(Refusal::WrongState { .. })
    ));
}

#[test]
fn history_tells_each_attempt_where_it_was_and_how_it_ended() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    try_once(&mut shard, fail_with(FailureClass::Transient));
    try_once(&mut shard, expire_with(ExpireReason::Silent));
    try_once(&mut shard, |shard| {
        let fence = fence(shard);
        shard.complete(job(1), fence, 7)
    });
    let history = shard.state.job(job(1)).unwrap().history;
    let numbers: Vec<u32> = history.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(
        matches!(&history[0].end, AttemptEnd::Failed { message, .. } if &**message == "out of memory")
    );
    assert_eq!(history[1].end, AttemptEnd::Expired(ExpireReason::Silent));
    assert_eq!(history[2].end, AttemptEnd::Completed);
    assert!(
        history
            .iter()
            .all(|attempt| attempt.worker.as_str() == "w1")
    );
}

#[test]
fn history_is_bounded_and_keeps_the_newest() {
    let mut shard = Fixture::with_policy(QueuePolicy {
        max_attempts: 1_000,
        ..QueuePolicy::default()
    });
    shard.submit(Submit {
        deadline: Some(limits::DELAY_MAX),
        ..submit(1)
    });
    for _ in 0..limits::HISTORY + 5 {
        try_once(&mut shard, fail_with(FailureClass::Transient));
    }
    let view = shard.state.job(job(1)).unwrap();
    assert_eq!(view.history.len(), limits::HISTORY);
    assert_eq!(view.history[0].number, 6);
    assert_eq!(view.tries.granted, 133);
}

#[test]
fn long_messages_are_cut_inside_no_character_and_details_keep_their_end() {
    let mut shard = Fixture::new();
    let (job, fence) = shard.leased_job(1);
    let mut detail = vec![b'a'; limits::DETAIL_BYTES];
    detail.extend(b"the end");
    shard.one(Command::Fail(Box::new(Fail {
        job,
        fence,
        class: FailureClass::Permanent,
        message: "x".repeat(limits::DETAIL_BYTES - 1) + "ü",
        detail: detail.into(),
        retry_after: None,
    })));
    let history = shard.state.job(job).unwrap().history;
    let AttemptEnd::Failed {
        message, detail, ..
    } = &history[0].end
    else {
        panic!("not failed");
    };
    assert_eq!(message.len(), limits::DETAIL_BYTES - 1);
    assert_eq!(detail.len(), limits::DETAIL_BYTES);
    assert!(detail.ends_with(b"the end"));
    let JobState::Dead { reason, .. } = shard.job_state(job) else {
        panic!("not dead");
    };
    assert_eq!(reason.len(), limits::REASON_BYTES, "it stays in memory");
}
