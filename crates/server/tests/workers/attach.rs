//! How workers come back: through another node, after their node stopped, or not at all.

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as Said;
use leasehold_api::v1::renewal_answer::Answer as Renewed;
use leasehold_api::v1::write_answer::Answer as Written;

use crate::nodes::crash;
use crate::support::{Lease, Submitter, TestCluster, TestWorker, session_id, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_keeps_its_lease_when_it_comes_back_through_another_node() {
    let cluster = TestCluster::start(3).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    let session = session_id();
    let mut worker = TestWorker::resume(&cluster, 0, "default", &session, 1, Vec::new()).await;
    worker.free(1).await;
    let job_id = submitter.submit("default", b"hello").await;
    let lease = Lease::from(&worker.job().await);
    drop(worker);

    let held = vec![lease.renewal(5)];
    let mut worker = TestWorker::resume(&cluster, 1, "default", &session, 10, held).await;
    let kept = worker.renewed(10).await;
    assert_eq!(kept.job_id, job_id);
    assert!(matches!(kept.answer, Some(Renewed::KeepMs(_))), "{kept:?}");
    let done = worker.complete(&lease, b"carried over").await;
    assert!(matches!(done.answer, Some(Written::Completed(_))));
    let job = submitter.wait(&job_id).await;
    assert_eq!(job.history.len(), 1, "one attempt, over two connections");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_outlives_the_leader_that_granted_it() {
    let mut cluster = TestCluster::start(3).await;
    cluster.replicated(3).await;
    let mut submitter = Submitter::of(&cluster, 1).await;
    submitter.create_queue("slow", 30_000).await;
    let mut worker = TestWorker::open(&cluster, 2, "slow").await;
    worker.free(1).await;
    // Submitted at home in the region of the node that is about to die, worked elsewhere.
    let job_id = Submitter::of(&cluster, 0)
        .await
        .submit("slow", b"hello")
        .await;
    let lease = Lease::from(&worker.job().await);
    assert_eq!(lease.job_id, job_id);
    crash(cluster.take(0)).await;

    let kept = soon("a new leader's answer", async {
        loop {
            let answer = worker.renew(&lease, 1).await.answer;
            if let Some(Renewed::KeepMs(left)) = answer {
                break left;
            }
            assert!(matches!(answer, Some(Renewed::Later(_))), "{answer:?}");
        }
    });
    assert_eq!(kept.await, 30_000);
    let done = worker.complete(&lease, b"carried over").await;
    assert!(
        matches!(done.answer, Some(Written::Completed(_))),
        "{done:?}"
    );
    let job = submitter.wait(&job_id).await;
    assert_eq!(job.history.len(), 1, "one attempt, under two leaders");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_stops_asks_its_workers_to_dial_another() {
    let mut cluster = TestCluster::start(3).await;
    let mut worker = TestWorker::open(&cluster, 2, "default").await;
    let hello = worker.hear().await;
    assert!(matches!(hello, Said::Renewed(_)), "{hello:?}");
    let stopping = tokio::spawn(cluster.take(2).stop());
    let asked = worker.hear().await;
    assert!(matches!(asked, Said::Leaving(_)), "{asked:?}");
    drop(worker);
    soon("the stop", stopping).await.expect("the node stops");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_worker_that_left_take_no_job_with_them() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.create_queue("chat", 30_000).await;
    let mut gone = TestWorker::open(&cluster, 0, "chat").await;
    gone.free(8).await;
    let first = submitter.submit("chat", b"first").await;
    let lease = Lease::from(&gone.job().await);
    gone.complete(&lease, b"done").await;
    gone.hang_up().await;

    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(submitter.submit("chat", b"next").await);
    }
    let mut worker = TestWorker::open(&cluster, 0, "chat").await;
    worker.free(4).await;
    for _ in 0..4 {
        let lease = Lease::from(&worker.job().await);
        worker.complete(&lease, b"done").await;
    }
    for job_id in jobs {
        let job = submitter.get(&job_id).await;
        assert_eq!(job.state, v1::JobState::Done as i32);
        let tries = job.tries.expect("tries");
        assert_eq!(tries.lost, 0, "no lease had to run out");
    }
    assert_eq!(submitter.get(&first).await.history.len(), 1);
    cluster.stop().await;
}
