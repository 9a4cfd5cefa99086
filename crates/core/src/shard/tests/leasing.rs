//! When a lease ends, and when it does not.

use std::time::Duration;

use leasehold_types::{FenceToken, JobId, Timestamp, limits};

use super::desk::{Desk, offer, region, renewal};
use super::fixture::{SECOND, job, session, submit};
use crate::policy::QueuePolicy;
use crate::shard::command::{
    Command, Complete, ExpireReason, Redrive, Release, ReleaseCause, Submit, WorkPhase,
};
use crate::shard::dispatcher::{Gate, Renewal, RenewalAnswer};
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Refusal, Stale};

/// A desk whose job 1 was just granted to worker 1.
fn leased(policy: QueuePolicy) -> (Desk, JobId, FenceToken) {
    let mut desk = Desk::with_policy(policy);
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let fence = desk.run()[0].fence;
    (desk, job(1), fence)
}

/// When and why the job's first attempt ended.
fn first_end(desk: &Desk) -> Option<(Timestamp, ExpireReason)> {
    let history = desk.shard.state.job(job(1))?.history;
    let first = history.first()?;
    match first.end {
        AttemptEnd::Expired(reason) => Some((first.ended_at, reason)),
        AttemptEnd::Completed
        | AttemptEnd::Failed { .. }
        | AttemptEnd::Released { .. }
        | AttemptEnd::Cancelled => None,
    }
}

/// Renews every five seconds for so long, with the progress that the closure says at each.
fn renew_for(desk: &mut Desk, fence: FenceToken, time: Duration, progress: impl Fn(u64) -> u64) {
    for beat in 1..=time.as_secs() / 5 {
        desk.run_for(5 * SECOND);
        desk.renew(1, renewal(job(1), fence, progress(beat)));
    }
}

#[test]
fn silent_worker_loses_its_lease_a_lease_after_it_was_last_heard() {
    let (mut desk, _, fence) = leased(QueuePolicy::default());
    renew_for(&mut desk, fence, 20 * SECOND, |beat| beat);
    let heard = desk.shard.now;
    desk.run_for(60 * SECOND);
    let end = (heard + 30 * SECOND, ExpireReason::Silent);
    assert_eq!(first_end(&desk), Some(end));
}

#[test]
fn worker_that_renews_with_progress_keeps_its_lease_up_to_the_attempt_limit() {
    let (mut desk, _, fence) = leased(QueuePolicy::default());
    let granted = desk.shard.now;
    renew_for(&mut desk, fence, 895 * SECOND, |beat| beat);
    assert_eq!(first_end(&desk), None);
    renew_for(&mut desk, fence, 10 * SECOND, |beat| 1_000 + beat);
    let end = (granted + 900 * SECOND, ExpireReason::AttemptLimit);
    assert_eq!(first_end(&desk), Some(end));
}

#[test]
fn worker_that_renews_without_progress_loses_its_lease_after_the_stall_limit() {
    let (mut desk, _, fence) = leased(QueuePolicy::default());
    renew_for(&mut desk, fence, 40 * SECOND, |beat| beat.min(4));
    let progressed = desk.shard.now - 20 * SECOND;
    renew_for(&mut desk, fence, 100 * SECOND, |_| 4);
    let end = (progressed + 90 * SECOND, ExpireReason::Stalled);
    assert_eq!(first_end(&desk), Some(end));
}

#[test]
fn opaque_queues_and_queued_jobs_know_no_stall() {
    let opaque = QueuePolicy {
        stall_limit: None,
        ..QueuePolicy::default()
    };
    let (mut desk, _, fence) = leased(opaque);
    renew_for(&mut desk, fence, 300 * SECOND, |_| 0);
    assert_eq!(first_end(&desk), None);
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    let queued = Renewal {
        phase: WorkPhase::Queued,
        ..renewal(job, fence, 0)
    };
    for _ in 0..60 {
        desk.run_for(5 * SECOND);
        let answer = desk.renew(1, queued);
        assert!(matches!(answer, RenewalAnswer::Keep { .. }));
    }
    // Begun now, it has a whole stall limit.
    let begun = desk.shard.now;
    desk.renew(1, renewal(job, fence, 0));
    renew_for(&mut desk, fence, 120 * SECOND, |_| 0);
    let end = (begun + 90 * SECOND, ExpireReason::Stalled);
    assert_eq!(first_end(&desk), Some(end));
}

#[test]
fn job_deadline_ends_a_lease_that_renews_well() {
    let mut desk = Desk::new();
    desk.shard.submit(Submit {
        deadline: Some(42 * SECOND),
        ..submit(1)
    });
    let deadline = desk.shard.now + 42 * SECOND;
    desk.offer(offer(1, 1));
    let fence = desk.run()[0].fence;
    renew_for(&mut desk, fence, 60 * SECOND, |beat| beat);
    assert_eq!(first_end(&desk), Some((deadline, ExpireReason::Deadline)));
}

#[test]
fn renewal_under_a_stale_fence_is_told_to_stop_and_why() {
    let (mut desk, job, old) = leased(QueuePolicy::default());
    desk.run_for(31 * SECOND);
    let stop = |fence, why| RenewalAnswer::Stop { job, fence, why };
    let ended = desk.renew(1, renewal(job, old, 1));
    assert_eq!(ended, stop(old, Stale::Ended));
    desk.offer(offer(2, 1));
    let new = desk.run()[0].fence;
    let superseded = desk.renew(1, renewal(job, old, 1));
    assert_eq!(superseded, stop(old, Stale::Superseded(new)));
}

#[test]
fn renewal_is_refused_once_the_end_of_the_lease_is_proposed() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.shard.pass(30 * SECOND);
    let proposed = desk.poll();
    assert!(matches!(proposed[..], [Command::Expire(_)]));
    let why = Stale::Expiring;
    let answer = desk.renew(1, renewal(job, fence, 1));
    assert_eq!(answer, RenewalAnswer::Stop { job, fence, why });
    let state = &desk.shard.state;
    let refused = desk.dispatcher.check_fence(state, job, fence);
    assert!(matches!(
        refused,
        Err(Refusal::StaleFence {
            why: Stale::Expiring,
            ..
        })
    ));
}

#[test]
fn expiry_whose_outcome_is_unknown_is_proposed_until_it_is_known() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.shard.pass(30 * SECOND);
    for _ in 0..3 {
        let commands = desk.poll();
        assert!(matches!(commands[..], [Command::Expire(_)]));
        let lost = desk.shard.batch(commands);
        desk.settle(&lost, Err(()));
        assert!(desk.poll().is_empty());
        let answer = desk.renew(1, renewal(job, fence, 1));
        assert!(matches!(answer, RenewalAnswer::Stop { .. }));
        desk.shard.pass(SECOND);
    }
    desk.run();
    assert!(first_end(&desk).is_some());
}

#[test]
fn expiry_that_was_applied_after_all_is_not_proposed_again() {
    let (mut desk, _, _) = leased(QueuePolicy::default());
    desk.shard.pass(30 * SECOND);
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.shard.state.apply(&late);
    desk.dispatcher.forget(session(1));
    desk.shard.pass(SECOND);
    assert!(desk.poll().is_empty());
    assert_eq!(desk.dispatcher.leases(), 0);
}

#[test]
fn repeated_completion_passes_the_leader_and_others_of_a_done_job_do_not() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    let complete = Complete {
        job,
        fence,
        result: vec![7].into(),
        digest: super::fixture::digest(7),
    };
    desk.commit(vec![Command::Complete(complete)]);
    let state = &desk.shard.state;
    assert_eq!(desk.dispatcher.check_fence(state, job, fence), Ok(()));
    let other = FenceToken::new(fence.incarnation(), fence.epoch(), 99);
    assert!(desk.dispatcher.check_fence(state, job, other).is_err());
    assert_eq!(desk.dispatcher.leases(), 0);
}

#[test]
fn closed_gate_promises_nothing_but_hears_the_worker() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.run_for(25 * SECOND);
    desk.gate = Gate {
        quorum_fresh: false,
        ..Gate::OPEN
    };
    let answer = desk.renew(1, renewal(job, fence, 1));
    assert_eq!(answer, RenewalAnswer::Later { job });
    desk.run_for(29 * SECOND);
    assert_eq!(first_end(&desk), None);
    desk.run_for(2 * SECOND);
    assert!(
        first_end(&desk).is_some(),
        "what ran out ends behind a closed gate too"
    );
}

#[test]
fn verdict_ends_leases_of_quiet_workers_in_the_region_at_once() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.run_for(5 * SECOND);
    desk.renew(1, renewal(job, fence, 1));
    let heard = desk.shard.now;
    desk.unreachable = [region("eu")].into();
    desk.run_for(9 * SECOND);
    assert_eq!(first_end(&desk), None);
    desk.run_for(5 * SECOND);
    let end = (heard + 10 * SECOND, ExpireReason::Verdict);
    assert_eq!(first_end(&desk), Some(end));
}

#[test]
fn verdict_leaves_workers_alone_that_are_heard_or_elsewhere_or_must_not_run_twice() {
    let (mut desk, _, fence) = leased(QueuePolicy::default());
    desk.unreachable = [region("eu")].into();
    renew_for(&mut desk, fence, 60 * SECOND, |beat| beat);
    assert_eq!(first_end(&desk), None);
    let (mut desk, _, _) = leased(QueuePolicy::default());
    desk.unreachable = [region("us")].into();
    desk.run_for(29 * SECOND);
    assert_eq!(first_end(&desk), None);
    let never_twice = QueuePolicy {
        requeue_on_verdict: false,
        ..QueuePolicy::default()
    };
    let (mut desk, _, _) = leased(never_twice);
    desk.unreachable = [region("eu")].into();
    desk.run_for(40 * SECOND);
    assert_eq!(first_end(&desk).unwrap().1, ExpireReason::Silent);
}

#[test]
fn worker_keeps_its_lease_under_another_session() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.dispatcher.forget(session(1));
    let answer = desk.renew(77, renewal(job, fence, 1));
    let lease = 30 * SECOND;
    assert_eq!(answer, RenewalAnswer::Keep { job, fence, lease });
}

#[test]
fn long_leases_are_noted_in_the_log_every_half_and_short_ones_never() {
    for (length, noted) in [(60 * SECOND, false), (120 * SECOND, true)] {
        let (mut desk, job, fence) = leased(QueuePolicy {
            lease: length,
            ..QueuePolicy::default()
        });
        renew_for(&mut desk, fence, 70 * SECOND, |beat| beat);
        desk.run_for(2 * SECOND);
        let lease = desk.shard.state.lease(job).unwrap();
        assert_eq!(
            lease.contact > lease.granted_at,
            noted,
            "lease of {length:?}"
        );
        assert_eq!(lease.progress > 0, noted);
    }
}

#[test]
fn live_progress_is_known_to_the_leader_before_the_log() {
    let (mut desk, job, fence) = leased(QueuePolicy::default());
    desk.renew(1, renewal(job, fence, 42));
    let live = desk.dispatcher.live(job).unwrap();
    assert_eq!((live.fence, live.progress), (fence, 42));
    assert_eq!(desk.shard.state.lease(job).unwrap().progress, 0);
}

#[test]
fn worker_that_no_leader_since_heard_was_silent_and_not_stalled() {
    let (mut desk, _, fence) = leased(QueuePolicy {
        stall_limit: Some(15 * SECOND),
        ..QueuePolicy::default()
    });
    desk.take_over();
    renew_for(&mut desk, fence, 10 * SECOND, |beat| beat);
    desk.run_for(2 * SECOND);
    desk.take_over();
    desk.run_for(60 * SECOND);
    assert_eq!(first_end(&desk).unwrap().1, ExpireReason::Silent);
}

#[test]
fn job_redriven_after_its_deadline_dies_of_the_next_one_too() {
    let mut desk = Desk::with_policy(QueuePolicy {
        job_deadline: 60 * SECOND,
        ..QueuePolicy::default()
    });
    desk.shard.submit(submit(1));
    for _ in 0..2 {
        desk.run_for(59 * SECOND);
        assert_eq!(desk.shard.state.is_terminal(job(1)), Some(false));
        desk.run_for(SECOND);
        assert_eq!(desk.shard.state.is_terminal(job(1)), Some(true));
        desk.commit(vec![Command::Redrive(Redrive { job: job(1) })]);
    }
}

#[test]
fn job_that_its_workers_handed_back_too_often_still_goes_back_when_none_was_reached() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    for _ in 0..limits::RELEASES {
        let release = Release {
            job: job(1),
            fence: desk.shard.lease(1),
            reason: String::new(),
            cause: ReleaseCause::Worker,
        };
        desk.commit(vec![Command::Release(release)]);
    }
    desk.offer(offer(1, 1));
    let proposed = desk.poll();
    desk.dispatcher.forget(session(1));
    desk.commit(proposed);
    desk.run();
    assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
}
