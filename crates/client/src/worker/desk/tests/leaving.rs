//! Stopping gracefully: no new jobs, running ones end or are handed back, last words are waited for.

use super::*;

#[tokio::test]
async fn leaving_is_said_once_on_each_connection_and_credit_no_more() {
    let mut scene = Scene::at_work();
    scene.desk.leave(scene.now);
    let said = scene.says();
    assert!(matches!(said[..], [Body::Leaving(_)]), "{said:?}");
    scene.pass(secs(4));
    assert_eq!(scene.says(), []);
    scene.desk.closed();
    scene.connect();
    assert!(matches!(scene.says()[..], [Body::Leaving(_)]));
}

#[tokio::test]
async fn running_job_may_end_within_the_grace_period() {
    let mut scene = Scene::at_work();
    scene.desk.leave(scene.now);
    scene.pass(GRACE - secs(1));
    assert!(scene.is_running(1) && !scene.desk.is_done(scene.now));
    scene.completes(1);
    assert_eq!(results(&scene.says()), 1);
    assert!(!scene.desk.is_done(scene.now));
    scene.is_accepted(1);
    assert!(scene.desk.is_done(scene.now));
}

#[tokio::test]
async fn what_runs_after_the_grace_period_is_dropped_and_handed_back() {
    let mut scene = Scene::at_work();
    let vitals = Arc::clone(&scene.desk.held[&key(1)].vitals);
    scene.desk.leave(scene.now);
    scene.pass(GRACE);
    assert!(vitals.stopped().is_cancelled());
    assert_eq!(releases(&scene.says()), 1);
    scene.ends(1, Outcome::Dropped);
    let released = v1::write_answer::Answer::Released(v1::ReleaseResponse {});
    scene.write_is_answered(1, released);
    assert!(scene.desk.is_done(scene.now));
    assert_eq!(scene.desk.unanswered(), 0);
}

#[tokio::test]
async fn waiting_jobs_are_handed_back_at_once_and_late_ones_too() {
    let mut scene = Scene::at_work();
    scene.is_granted(2);
    scene.desk.leave(scene.now);
    scene.is_granted(3);
    assert_eq!(releases(&scene.says()), 2);
    assert_eq!(scene.starts(), []);
}

#[tokio::test]
async fn last_answers_are_waited_for_only_so_long() {
    let mut scene = Scene::at_work();
    scene.desk.leave(scene.now);
    scene.completes(1);
    scene.desk.closed();
    scene.pass(GRACE + LAST_ANSWERS);
    assert!(scene.desk.is_done(scene.now));
    assert_eq!(scene.desk.unanswered(), 1);
}

#[tokio::test]
async fn idle_worker_is_done_at_once() {
    let mut scene = Scene::with_slots(1);
    assert!(!scene.desk.is_done(scene.now));
    scene.desk.leave(scene.now);
    assert!(scene.desk.is_done(scene.now));
}

#[tokio::test]
async fn refused_release_becomes_a_failure_that_is_not_the_job_s_fault() {
    let mut scene = Scene::at_work();
    scene.desk.leave(scene.now);
    scene.pass(GRACE);
    scene.says();
    scene.is_refused(1, ErrorCode::FailedPrecondition);
    let infrastructure = v1::FailureClass::from(FailureClass::Infrastructure) as i32;
    assert_eq!(failures(&scene.says()), [infrastructure]);
}
