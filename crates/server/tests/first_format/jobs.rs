//! The jobs of the fixture: one in each state, and what must be found of them.

use leasehold_api::v1::{self, FailureClass, JobState};

use crate::caller::{Caller, WORKER};

const QUEUE: &str = "kept";
const HOUR_MS: u64 = 3_600_000;
/// Far longer than the fixture is read for.
const LONG_MS: u64 = 10 * HOUR_MS;
const LEASE_MS: u64 = 600_000;
const RESULT: &[u8] = b"forty-two";
const REFUSAL: &str = "no such model";
const HICCUP: &str = "the GPU fell off the bus";
const REGRET: &str = "not wanted any more";

/// The key of each job, which is also its payload, and the state that it is found in.
const STATES: [(&str, JobState); 7] = [
    ("done", JobState::Done),
    ("dead", JobState::Dead),
    ("failed-once", JobState::Waiting),
    ("leased", JobState::Leased),
    ("cancelled", JobState::Cancelled),
    ("waiting", JobState::Waiting),
    ("ready", JobState::Ready),
];

fn policy() -> v1::QueuePolicyChange {
    v1::QueuePolicyChange {
        lease_ms: Some(LEASE_MS),
        stall_limit_ms: Some(LEASE_MS),
        attempt_limit_ms: Some(24 * HOUR_MS),
        job_deadline_ms: Some(48 * HOUR_MS),
        max_attempts: Some(7),
        retain_done_ms: Some(24 * HOUR_MS),
        ..v1::QueuePolicyChange::default()
    }
}

fn new_job(key: &str) -> v1::NewJob {
    v1::NewJob {
        queue: QUEUE.to_owned(),
        idempotency_key: key.to_owned(),
        payload: key.as_bytes().to_vec().into(),
        priority: Some(6),
        ..v1::NewJob::default()
    }
}

async fn submitted(caller: &mut Caller, key: &str) -> String {
    caller.submit(new_job(key)).await.unwrap().job_id
}

async fn leased(caller: &mut Caller, key: &str) -> v1::Assignment {
    let id = submitted(caller, key).await;
    let lease = caller.lease(QUEUE).await;
    assert_eq!(lease.job_id, id, "another job was ready");
    lease
}

/// What the checkpoint holds.
pub(crate) async fn make_first_half(caller: &mut Caller) {
    caller.create_queue(QUEUE, policy()).await;
    let done = leased(caller, "done").await;
    caller.complete(&done, RESULT).await;
    let dead = leased(caller, "dead").await;
    let refusal = v1::FailRequest {
        class: FailureClass::Permanent.into(),
        message: REFUSAL.to_owned(),
        ..v1::FailRequest::default()
    };
    caller.fail(&dead, refusal).await;
    let failed = leased(caller, "failed-once").await;
    let hiccup = v1::FailRequest {
        class: FailureClass::Transient.into(),
        message: HICCUP.to_owned(),
        retry_after_ms: HOUR_MS,
        ..v1::FailRequest::default()
    };
    caller.fail(&failed, hiccup).await;
}

/// What only the log holds.
pub(crate) async fn make_second_half(caller: &mut Caller) {
    leased(caller, "leased").await;
    let cancelled = submitted(caller, "cancelled").await;
    caller.cancel(&cancelled, REGRET).await;
    let waiting = v1::NewJob {
        delay_ms: LONG_MS,
        ..new_job("waiting")
    };
    caller.submit(waiting).await.unwrap();
    submitted(caller, "ready").await;
}

pub(crate) async fn check_policies(caller: &mut Caller) {
    let policy = caller.queue(QUEUE).await.policy.unwrap();
    assert_eq!(policy.lease_ms, LEASE_MS);
    assert_eq!(policy.attempt_limit_ms, 24 * HOUR_MS);
    assert_eq!(policy.job_deadline_ms, 48 * HOUR_MS);
    assert_eq!(policy.max_attempts, 7);
    let default = caller.queue("default").await.policy.unwrap();
    assert_ne!(default.max_attempts, 7);
}

pub(crate) async fn check_jobs(caller: &mut Caller) {
    let listed = caller.list(QUEUE).await;
    assert_eq!(listed.len(), STATES.len());
    for (key, state) in STATES {
        let job = listed
            .iter()
            .find(|job| job.idempotency_key == key)
            .unwrap();
        let job = caller.job(&job.job_id).await;
        assert_eq!(job.state(), state, "{key}");
        assert_eq!(job.payload, payload_of(key, state), "{key}");
        assert_eq!(job.priority, 6, "{key}");
        check_story(key, &job);
    }
}

/// The payload goes with its last use.
fn payload_of(key: &str, state: v1::JobState) -> &[u8] {
    match state {
        v1::JobState::Done | v1::JobState::Cancelled => b"",
        v1::JobState::Unspecified
        | v1::JobState::Waiting
        | v1::JobState::Ready
        | v1::JobState::Leased
        | v1::JobState::Dead => key.as_bytes(),
    }
}

fn check_story(key: &str, job: &v1::Job) {
    let tries = job.tries.unwrap_or_default();
    match key {
        "done" => {
            assert_eq!(job.done.as_ref().unwrap().result, RESULT);
            assert_eq!((tries.granted, job.history.len()), (1, 1));
        }
        "dead" => {
            let ended = job.ended.as_ref().unwrap();
            assert_eq!(ended.class(), FailureClass::Permanent);
            assert_eq!(failure(job), REFUSAL);
        }
        "failed-once" => {
            assert_eq!((tries.granted, tries.failed), (1, 1));
            assert_eq!(failure(job), HICCUP);
            assert!(job.due_in_ms > HOUR_MS / 2, "{}", job.due_in_ms);
        }
        "leased" => {
            let lease = job.lease.as_ref().unwrap();
            assert_eq!(
                (lease.worker.as_str(), lease.region.as_str()),
                (WORKER, "eu")
            );
        }
        "cancelled" => assert_eq!(job.ended.as_ref().unwrap().reason, REGRET),
        "waiting" => assert!(job.due_in_ms > LONG_MS / 2, "{}", job.due_in_ms),
        _ => assert_eq!((tries.granted, job.history.len()), (0, 0), "{key}"),
    }
}

/// The words of the one attempt that failed.
fn failure(job: &v1::Job) -> &str {
    assert_eq!(job.history.len(), 1, "{job:?}");
    let end = job.history[0].end.as_ref().unwrap();
    let v1::attempt::End::Failed(failed) = end else {
        panic!("{end:?}");
    };
    &failed.message
}

/// A key still finds its job, and still refuses another payload.
pub(crate) async fn check_keys(caller: &mut Caller) {
    let listed = caller.list(QUEUE).await;
    for (key, _) in STATES {
        let first = listed
            .iter()
            .find(|job| job.idempotency_key == key)
            .unwrap();
        let again = caller.submit(new_job(key)).await.unwrap();
        assert!(again.repeated, "{key}");
        assert_eq!(again.job_id, first.job_id);
        let other = v1::NewJob {
            payload: b"something else".to_vec().into(),
            ..new_job(key)
        };
        let refused = caller.submit(other).await.unwrap_err();
        assert_eq!(refused.code, "already_exists", "{key}");
    }
}

/// What was ready is leased under a fence after all those of the folder, and completed.
pub(crate) async fn check_work_goes_on(caller: &mut Caller) {
    let lease = caller.lease(QUEUE).await;
    assert_eq!(lease.payload, b"ready".as_slice());
    let held = caller.list(QUEUE).await;
    let held = held
        .iter()
        .find(|job| job.idempotency_key == "leased")
        .unwrap();
    let held = caller.job(&held.job_id).await.lease.unwrap().fence;
    assert!(
        fence(&lease.fence) > fence(&held),
        "{} after {held}",
        lease.fence
    );
    caller.complete(&lease, b"done at last").await;
    let job = caller.job(&lease.job_id).await;
    assert_eq!(job.done.unwrap().result, b"done at last".as_slice());
}

fn fence(text: &str) -> leasehold_types::FenceToken {
    text.parse().unwrap()
}
