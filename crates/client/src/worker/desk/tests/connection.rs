//! Connections: numbers that rise over all of them, absolute credit on each, and when to leave one.

use super::*;

#[tokio::test]
async fn numbers_rise_by_one_over_all_connections() {
    let mut scene = Scene::with_slots(2);
    let before = scene.last;
    scene.desk.closed();
    scene.connect();
    assert_eq!(scene.last, before + 1);
    scene.says();
    assert_eq!(scene.last, before + 2);
}

#[tokio::test]
async fn credit_is_absolute_and_names_what_was_received_on_this_connection() {
    let mut scene = Scene::with_slots(2);
    scene.is_granted(1);
    scene.pass(secs(1));
    assert_eq!(credits(&scene.says()), [(1, 1)]);
    scene.desk.closed();
    scene.connect();
    assert_eq!(credits(&scene.says()), [(1, 0)]);
}

#[tokio::test]
async fn freed_slot_is_said_at_once() {
    let mut scene = Scene::at_work();
    scene.says();
    assert_eq!(credits(&scene.says()), []);
    scene.completes(1);
    assert_eq!(credits(&scene.says()), [(1, 1)]);
}

#[tokio::test]
async fn idle_worker_says_its_credit_now_and_then_so_that_grants_count_from_lately() {
    let mut scene = Scene::with_slots(1);
    scene.pass(secs(1));
    assert_eq!(credits(&scene.says()), [(1, 0)]);
    let wakeup = scene.desk.wakeup().unwrap();
    assert_eq!(wakeup, scene.now + secs(1));
}

#[tokio::test]
async fn hello_lists_every_lease_that_is_still_worked_on() {
    let mut scene = Scene::with_slots(2);
    scene.is_granted(1);
    scene.is_granted(2);
    scene.is_stopped(2);
    scene.desk.closed();
    let hello = scene.connect();
    let listed: Vec<String> = hello.leases.into_iter().map(|lease| lease.job_id).collect();
    assert_eq!(listed, [key(1).job.to_string()]);
}

#[tokio::test]
async fn answer_to_the_hello_renews_from_when_it_was_sent() {
    let mut scene = Scene::at_work();
    scene.desk.closed();
    scene.pass(secs(20));
    scene.connect();
    scene.is_kept(1);
    scene.pass(secs(20));
    assert!(scene.is_running(1));
}

#[tokio::test]
async fn half_a_lease_without_an_answer_is_reason_to_dial_another_gateway() {
    let mut scene = Scene::at_work();
    scene.pass(LEASE / 2 - Duration::from_millis(1));
    assert!(!scene.desk.wants_another_line(scene.now));
    scene.pass(Duration::from_millis(1));
    assert!(scene.desk.wants_another_line(scene.now));
    scene.desk.closed();
    scene.connect();
    assert!(!scene.desk.wants_another_line(scene.now));
}

#[tokio::test]
async fn idle_worker_asks_whether_its_gateway_is_there_and_leaves_one_that_does_not_answer() {
    let mut scene = Scene::with_slots(1);
    let mut asked = 0;
    for _ in 0..600 {
        scene.pass(secs(1));
        let said = scene.says();
        if said.iter().any(|body| matches!(body, Body::Renew(_))) {
            asked += 1;
            let number = scene.last;
            scene.hears(Said::Renewed(v1::RenewResponse {
                answers: Vec::new(),
                number,
            }));
        }
        assert!(!scene.desk.wants_another_line(scene.now));
    }
    assert_eq!(asked, 60);
    scene.pass(SILENCE_MAX);
    assert!(scene.desk.wants_another_line(scene.now));
}

#[tokio::test]
async fn leaving_gateway_is_left() {
    let mut scene = Scene::with_slots(1);
    scene.hears(Said::Leaving(v1::GatewayLeaving {}));
    assert!(scene.desk.wants_another_line(scene.now));
}

#[tokio::test]
async fn nothing_is_said_without_a_connection_or_without_room() {
    let mut scene = Scene::at_work();
    scene.completes(1);
    assert_eq!(scene.desk.outgoing(scene.now, 2), []);
    scene.desk.closed();
    assert_eq!(scene.says(), []);
    scene.connect();
    assert_eq!(results(&scene.says()), 1);
}
