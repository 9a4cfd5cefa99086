//! Slots go where the work is.

use crate::support::{Lease, Submitter, TestCluster, TestWorker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_of_a_region_without_workers_is_done_by_workers_of_another() {
    let cluster = TestCluster::start(3).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    // One slot, which idles at home until there is work elsewhere.
    let mut worker = TestWorker::open(&cluster, 1, "default").await;
    worker.free(1).await;
    let jobs = [
        submitter.submit("default", b"one").await,
        submitter.submit("default", b"two").await,
        submitter.submit("default", b"three").await,
    ];
    for _ in &jobs {
        let lease = Lease::from(&worker.job().await);
        assert!(jobs.contains(&lease.job_id));
        worker.complete(&lease, b"done").await;
        worker.free(1).await;
    }
    for job_id in &jobs {
        let job = submitter.wait(job_id).await;
        let attempt = job.history.first().expect("an attempt");
        assert_eq!(attempt.region, "r1", "the worker's region");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_that_went_elsewhere_comes_back_for_work_at_home() {
    let cluster = TestCluster::start(3).await;
    let mut submitters = [
        Submitter::of(&cluster, 0).await,
        Submitter::of(&cluster, 1).await,
    ];
    let mut worker = TestWorker::open(&cluster, 1, "default").await;
    worker.free(1).await;
    for region in [0, 1, 0] {
        let job_id = submitters[region].submit("default", b"work").await;
        let lease = Lease::from(&worker.job().await);
        assert_eq!(lease.job_id, job_id);
        worker.complete(&lease, b"done").await;
        worker.free(1).await;
    }
    cluster.stop().await;
}
