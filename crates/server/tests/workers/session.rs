//! What a worker on a stream gets, and what it is refused.

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as Said;
use leasehold_api::v1::renewal_answer::Answer as Renewed;
use leasehold_api::v1::worker_message::Body;
use leasehold_api::v1::write_answer::Answer as Written;
use leasehold_types::limits;
use tonic::Code;

use crate::support::{Lease, Submitter, TestCluster, TestWorker, session_id};

fn refusal(answer: &v1::WriteAnswer) -> &v1::Error {
    match &answer.answer {
        Some(Written::Error(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_is_granted_renewed_and_completed_over_one_stream() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.create_queue("chat", 4_000).await;
    let mut worker = TestWorker::open(&cluster, 0, "chat").await;
    worker.free(1).await;
    let job_id = submitter.submit("chat", b"hello").await;

    let job = worker.job().await;
    assert_eq!((job.job_id.as_str(), job.attempt), (job_id.as_str(), 1));
    assert_eq!((&job.payload[..], job.lease_ms), (&b"hello"[..], 4_000));
    assert!(job.counted_from >= 1, "a message that the worker did send");
    let lease = Lease::from(&job);
    let kept = worker.renew(&lease, 10).await;
    assert_eq!(kept.answer, Some(Renewed::KeepMs(4_000)));
    let done = worker.complete(&lease, b"world").await;
    assert!(matches!(done.answer, Some(Written::Completed(c)) if !c.repeated));
    let again = worker.complete(&lease, b"world").await;
    assert!(matches!(again.answer, Some(Written::Completed(c)) if c.repeated));

    let job = submitter.wait(&job_id).await;
    assert_eq!(job.state, v1::JobState::Done as i32);
    assert_eq!(&job.done.expect("a result").result[..], b"world");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_was_slow_is_refused_by_its_fence_once_another_has_the_job() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.create_queue("chat", 4_000).await;
    let mut slow = TestWorker::open(&cluster, 0, "chat").await;
    slow.free(1).await;
    let job_id = submitter.submit("chat", b"hello").await;
    let old = Lease::from(&slow.job().await);

    let mut other = TestWorker::open(&cluster, 0, "chat").await;
    other.free(1).await;
    let job = tokio::select! {
        job = other.job() => job,
        () = slow.neglects() => unreachable!("it goes on for ever"),
    };
    assert_eq!((job.job_id.as_str(), job.attempt), (job_id.as_str(), 2));
    let late = slow.complete(&old, b"too late").await;
    assert_eq!(refusal(&late).code, "stale_fence");
    let stopped = slow.renew(&old, 1).await;
    assert!(matches!(stopped.answer, Some(Renewed::Stop(_))));

    other.complete(&Lease::from(&job), b"in time").await;
    let job = submitter.wait(&job_id).await;
    assert_eq!(&job.done.expect("a result").result[..], b"in time");
    assert_eq!(job.history.len(), 2, "both attempts are kept");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_of_a_cancelled_job_is_told_to_stop_without_asking() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.create_queue("chat", 4_000).await;
    let mut worker = TestWorker::open(&cluster, 0, "chat").await;
    worker.free(1).await;
    let job_id = submitter.submit("chat", b"hello").await;
    let lease = Lease::from(&worker.job().await);
    submitter.cancel(&job_id).await;

    let told = worker.renewed(0).await;
    assert_eq!(
        (told.job_id, told.fence),
        (lease.job_id.clone(), lease.fence.clone())
    );
    assert!(matches!(told.answer, Some(Renewed::Stop(_))));
    let late = worker.complete(&lease, b"anyway").await;
    assert_eq!(refusal(&late).code, "stale_fence");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_gets_no_more_jobs_than_it_has_free_slots() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.create_queue("chat", 30_000).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(submitter.submit("chat", b"hello").await);
    }
    let mut worker = TestWorker::open(&cluster, 0, "chat").await;
    worker.free(2).await;
    let mut held = vec![worker.job().await, worker.job().await];
    // An answer from the leader in between would carry any grant that should not have been made.
    while let Some(job) = held.pop() {
        let lease = Lease::from(&job);
        worker.renew(&lease, 1).await;
        worker.complete(&lease, b"done").await;
        jobs.retain(|id| *id != job.job_id);
        if held.len() < jobs.len() {
            worker.free(1).await;
            held.push(worker.job().await);
        }
        assert!(held.len() <= 2);
    }
    assert!(jobs.is_empty(), "left over: {jobs:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_worker_is_answered_although_it_renews_nothing() {
    let cluster = TestCluster::start(1).await;
    let mut worker = TestWorker::open(&cluster, 0, "default").await;
    let asked = worker.say(Body::Renew(v1::RenewRequest::default())).await;
    let answered = loop {
        if let Said::Renewed(renewed) = worker.hear().await
            && renewed.number == asked
        {
            break renewed;
        }
    };
    assert!(answered.answers.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_ends_the_stream_with_what_was_wrong() {
    let cluster = TestCluster::start(1).await;
    let mut no_hello = TestWorker::connect(&cluster, 0).await;
    no_hello.free(1).await;
    let status = no_hello.last_word().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("hello"), "{status:?}");

    let mut nameless = TestWorker::connect(&cluster, 0).await;
    nameless.say(Body::Hello(v1::WorkerHello::default())).await;
    let status = nameless.last_word().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("session"), "{status:?}");

    let mut greedy = TestWorker::open(&cluster, 0, "default").await;
    greedy.free(limits::WORKER_CREDIT + 1).await;
    let status = greedy.last_word().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("free"), "{status:?}");

    let mut worker = TestWorker::open(&cluster, 0, "default").await;
    let nonsense = Lease {
        job_id: "nonsense".to_owned(),
        fence: "f1".to_owned(),
    };
    let answer = worker.complete(&nonsense, b"").await;
    assert_eq!(refusal(&answer).code, "invalid_argument");
    assert!(refusal(&answer).message.contains("job_id"), "{answer:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_is_opened_again_ends_the_one_before() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    let session = session_id();
    let open = |number| TestWorker::resume(&cluster, 0, "default", &session, number, Vec::new());
    let mut first = open(1).await;
    first.free(1).await;
    let mut second = open(3).await;
    let status = first.last_word().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("opened again"), "{status:?}");

    second.free(1).await;
    let job_id = submitter.submit("default", b"hello").await;
    assert_eq!(second.job().await.job_id, job_id);
    cluster.stop().await;
}
