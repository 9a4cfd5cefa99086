//! Leases: started only when believed in, renewed in time, dropped at the local deadline.

use super::*;

/// 30 s less 250 ms and 1 %.
const BELIEVED: Duration = Duration::from_millis(30_000 - 250 - 300);

#[tokio::test]
async fn granted_job_starts_at_once_and_takes_its_slot() {
    let mut scene = Scene::at_work();
    assert_eq!(scene.desk.free(), 0);
    scene.completes(1);
    assert_eq!(scene.desk.free(), 1);
}

#[tokio::test]
async fn work_is_dropped_at_the_local_deadline_and_not_before() {
    let mut scene = Scene::at_work();
    scene.pass(BELIEVED - Duration::from_millis(1));
    assert!(scene.is_running(1));
    let vitals = Arc::clone(&scene.desk.held[&key(1)].vitals);
    scene.pass(Duration::from_millis(1));
    assert!(!scene.is_running(1));
    assert!(vitals.stopped().is_cancelled());
}

#[tokio::test]
async fn lease_counts_from_when_the_renewal_was_sent_and_not_from_its_answer() {
    let mut scene = Scene::at_work();
    scene.pass(secs(5));
    assert_eq!(renewed(&scene.says()).len(), 1);
    let sent = scene.now;
    scene.pass(secs(4));
    scene.is_kept(1);
    assert_eq!(scene.desk.held[&key(1)].deadline, sent + BELIEVED);
}

#[tokio::test]
async fn answer_to_an_older_renewal_changes_nothing() {
    let mut scene = Scene::at_work();
    let first = scene.last;
    scene.pass(secs(5));
    scene.says();
    scene.is_kept(1);
    let deadline = scene.desk.held[&key(1)].deadline;
    let LeaseKey { job, fence } = key(1);
    let lease = secs(600);
    scene.is_answered(RenewalReply::Keep { job, fence, lease }, first);
    assert_eq!(scene.desk.held[&key(1)].deadline, deadline);
}

#[tokio::test]
async fn answer_to_a_message_never_sent_is_not_believed() {
    let mut scene = Scene::at_work();
    let deadline = scene.desk.held[&key(1)].deadline;
    let LeaseKey { job, fence } = key(1);
    let lease = LEASE;
    scene.is_answered(RenewalReply::Keep { job, fence, lease }, scene.last + 1_000);
    assert_eq!(scene.desk.held[&key(1)].deadline, deadline);
}

#[tokio::test]
async fn all_leases_are_renewed_in_one_message_six_times_a_lease() {
    let mut scene = Scene::with_slots(3);
    for number in 1..=3 {
        scene.is_granted(number);
    }
    scene.says();
    scene.pass(secs(5) - Duration::from_millis(1));
    assert_eq!(renewed(&scene.says()), []);
    scene.pass(Duration::from_millis(1));
    let said = scene.says();
    let messages = said.iter().filter(|body| matches!(body, Body::Renew(_)));
    assert_eq!(messages.count(), 1);
    assert_eq!(renewed(&said).len(), 3);
}

#[tokio::test]
async fn renewal_carries_progress_and_phase() {
    let mut scene = Scene::at_work();
    let vitals = Arc::clone(&scene.desk.held[&key(1)].vitals);
    vitals.raise_to(77);
    vitals.enter(WorkPhase::Loading);
    scene.pass(secs(5));
    let said = scene.says();
    let Some(Body::Renew(renew)) = said.first() else {
        panic!("{said:?}");
    };
    assert_eq!(renew.renewals[0].progress, 77);
    assert_eq!(renew.renewals[0].phase, v1::WorkPhase::Loading as i32);
}

#[tokio::test]
async fn grant_on_the_strength_of_an_old_message_waits_for_its_renewal() {
    let mut scene = Scene::with_slots(1);
    let old = scene.last;
    scene.pass(secs(40));
    scene.is_granted_counting_from(1, old);
    assert_eq!(scene.starts(), []);
    let said = scene.says();
    let queued = v1::WorkPhase::Queued as i32;
    assert_eq!(renewed(&said), [(key(1).job.to_string(), queued)]);
    scene.is_kept(1);
    assert_eq!(scene.starts(), [(key(1).job, false)]);
}

#[tokio::test]
async fn waiting_job_that_is_never_confirmed_is_never_started() {
    let mut scene = Scene::with_slots(1);
    let unsent = scene.last + 1_000;
    scene.is_granted_counting_from(1, unsent);
    scene.pass(LEASE);
    assert_eq!(scene.starts(), []);
    assert!(scene.desk.held.is_empty());
    assert_eq!(scene.desk.free(), 1);
}

#[tokio::test]
async fn job_beyond_the_slots_waits_its_turn() {
    let mut scene = Scene::at_work();
    scene.is_granted(2);
    assert_eq!(scene.starts(), []);
    scene.completes(1);
    assert_eq!(scene.starts(), [(key(2).job, false)]);
}

#[tokio::test]
async fn job_beyond_slots_and_waiting_room_is_given_back() {
    let mut scene = Scene::at_work();
    scene.is_granted(2);
    scene.is_granted(3);
    assert_eq!(releases(&scene.says()), 1);
}

#[tokio::test]
async fn told_to_stop_the_work_stops_and_its_slot_is_free_once_it_returned() {
    let mut scene = Scene::at_work();
    let vitals = Arc::clone(&scene.desk.held[&key(1)].vitals);
    scene.is_stopped(1);
    assert!(vitals.stopped().is_cancelled());
    assert_eq!(scene.desk.free(), 0);
    scene.ends(1, Outcome::Dropped);
    assert_eq!(scene.desk.free(), 1);
    assert_eq!(releases(&scene.says()), 0);
}

#[tokio::test]
async fn repeated_assignment_starts_nothing_twice() {
    let mut scene = Scene::at_work();
    scene.is_granted(1);
    assert_eq!(scene.starts(), []);
    scene.completes(1);
    scene.is_granted(1);
    scene.says();
    scene.is_accepted(1);
    scene.is_granted(1);
    assert_eq!(scene.starts(), []);
    assert!(scene.desk.held.is_empty());
}

#[tokio::test]
async fn no_answer_now_changes_nothing() {
    let mut scene = Scene::at_work();
    let deadline = scene.desk.held[&key(1)].deadline;
    let job = key(1).job;
    let error = ApiError::unavailable("no leader");
    scene.is_answered(RenewalReply::Later { job, error }, scene.last);
    assert!(scene.is_running(1));
    assert_eq!(scene.desk.held[&key(1)].deadline, deadline);
}
