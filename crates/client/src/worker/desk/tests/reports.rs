//! Results and failures: said until they are answered, in words that fit.

use super::*;

fn transient() -> Outcome {
    Outcome::Failed(WorkError::transient("no"))
}

#[tokio::test]
async fn result_is_said_again_until_it_is_answered() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    assert_eq!(results(&scene.says()), 1);
    assert_eq!(results(&scene.says()), 0);
    scene.pass(secs(5));
    assert_eq!(results(&scene.says()), 1);
    scene.is_accepted(1);
    scene.pass(secs(60));
    assert_eq!(results(&scene.says()), 0);
}

#[tokio::test]
async fn result_outlives_its_connection_and_its_local_deadline() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    scene.says();
    scene.desk.closed();
    scene.pass(secs(120));
    assert_eq!(scene.says(), []);
    let hello = scene.connect();
    assert_eq!(hello.leases.len(), 1);
    assert_eq!(hello.leases[0].phase, v1::WorkPhase::Uploading as i32);
    assert_eq!(results(&scene.says()), 1);
}

#[tokio::test]
async fn stale_fence_ends_the_report() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    scene.says();
    scene.is_refused(1, ErrorCode::StaleFence);
    assert!(scene.desk.held.is_empty());
}

#[tokio::test]
async fn stop_does_not_end_a_report_because_its_answer_is_still_to_come() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    scene.is_stopped(1);
    assert_eq!(results(&scene.says()), 1);
    scene.pass(secs(5));
    let said = scene.says();
    assert_eq!((renewed(&said).len(), results(&said)), (0, 1));
}

#[tokio::test]
async fn write_that_could_not_be_done_now_is_repeated_after_a_wait() {
    for code in [
        ErrorCode::NotLeader,
        ErrorCode::Unavailable,
        ErrorCode::ResourceExhausted,
        ErrorCode::Unknown,
    ] {
        let mut scene = Scene::at_work();
        scene.completes(1);
        scene.says();
        scene.is_refused(1, code);
        assert_eq!(results(&scene.says()), 0, "{code}");
        scene.pass(secs(1));
        assert_eq!(results(&scene.says()), 1, "{code}");
    }
}

#[tokio::test]
async fn refused_result_becomes_a_permanent_failure_instead_of_an_expired_lease() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    scene.says();
    scene.is_refused(1, ErrorCode::InvalidArgument);
    let permanent = v1::FailureClass::from(FailureClass::Permanent) as i32;
    assert_eq!(failures(&scene.says()), [permanent]);
    scene.is_refused(1, ErrorCode::InvalidArgument);
    assert!(scene.desk.held.is_empty());
}

#[tokio::test]
async fn oversized_result_is_a_permanent_failure() {
    let mut scene = Scene::at_work();
    let outcome = Outcome::Completed {
        result: vec![0; limits::INLINE_BYTES + 1].into(),
        digest: Digest::new([0; 32]),
    };
    scene.ends(1, outcome);
    let permanent = v1::FailureClass::from(FailureClass::Permanent) as i32;
    assert_eq!(failures(&scene.says()), [permanent]);
}

#[tokio::test]
async fn failure_of_a_lost_lease_is_not_reported() {
    let mut scene = Scene::at_work();
    scene.is_stopped(1);
    scene.ends(1, transient());
    assert!(failures(&scene.says()).is_empty());
}

#[tokio::test]
async fn finished_lease_is_renewed_until_its_report_is_answered() {
    let mut scene = Scene::at_work();
    scene.ends(1, transient());
    scene.says();
    scene.pass(secs(5));
    assert_eq!(renewed(&scene.says()).len(), 1);
}

#[tokio::test]
async fn no_job_is_asked_for_above_the_bound_of_unanswered_reports() {
    let mut scene = Scene::with_slots(1_024);
    for number in 0..REPORTS_MAX {
        let mut random = [0; 12];
        random[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        let job = JobId::new(VirtualShard::new(1), random);
        let key = LeaseKey { job, ..key(1) };
        scene.hears(Said::Assignment(v1::Assignment {
            job_id: job.to_string(),
            queue: "chat".to_owned(),
            fence: key.fence.to_string(),
            lease_ms: 30_000,
            counted_from: scene.last,
            ..v1::Assignment::default()
        }));
        let outcome = transient();
        scene.desk.finished(Finished { key, outcome }, scene.now);
    }
    assert_eq!(scene.desk.free(), 0);
}
