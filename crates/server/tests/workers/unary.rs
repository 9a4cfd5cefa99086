//! Working without a stream.

use leasehold_api::v1;
use leasehold_api::v1::renewal_answer::Answer as Renewed;
use leasehold_api::v1::workers_client::WorkersClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::{Submitter, TestCluster, TestWorker, session_id, soon};

async fn workers(cluster: &TestCluster) -> WorkersClient<Channel> {
    let address = format!("http://{}", cluster.address(0));
    let client = soon("a connection", WorkersClient::connect(address)).await;
    client.expect("the node listens")
}

fn lease(session: &str, queue: &str, wait_ms: u64) -> v1::LeaseRequest {
    v1::LeaseRequest {
        session: session.to_owned(),
        worker: "script-1".to_owned(),
        queues: vec![queue.to_owned()],
        jobs: 2,
        wait_ms,
        ..v1::LeaseRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_is_leased_renewed_and_completed_by_calls() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    let mut workers = workers(&cluster).await;
    let session = session_id();
    let nothing = soon(
        "an empty lease",
        workers.lease(lease(&session, "default", 0)),
    )
    .await;
    assert!(nothing.unwrap().into_inner().assignments.is_empty());

    let job_id = submitter.submit("default", b"hello").await;
    let leased = soon("a lease", workers.lease(lease(&session, "default", 30_000))).await;
    let job = leased.unwrap().into_inner().assignments.remove(0);
    assert_eq!(
        (job.job_id.as_str(), &job.payload[..]),
        (job_id.as_str(), &b"hello"[..])
    );
    let renewal = v1::Renewal {
        job_id: job.job_id.clone(),
        fence: job.fence.clone(),
        progress: 1,
        phase: v1::WorkPhase::Running as i32,
    };
    let renew = v1::RenewRequest {
        session: session.clone(),
        renewals: vec![renewal],
    };
    let renewed = soon("a renewal", workers.renew(renew))
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(
        renewed.answers[0].answer,
        Some(Renewed::KeepMs(_))
    ));

    let complete = v1::CompleteRequest {
        session,
        job_id: job.job_id.clone(),
        fence: job.fence.clone(),
        result: b"world".to_vec().into(),
        ..v1::CompleteRequest::default()
    };
    let completed = soon("a completion", workers.complete(complete.clone())).await;
    assert!(!completed.unwrap().into_inner().repeated);
    let other = v1::CompleteRequest {
        result: b"another world".to_vec().into(),
        ..complete
    };
    let refused = soon("a refusal", workers.complete(other))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        submitter.wait(&job_id).await.state,
        v1::JobState::Done as i32
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_job_waits_and_released_job_goes_to_the_next() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    let mut workers = workers(&cluster).await;
    let session = session_id();
    let job_id = submitter.submit("default", b"hello").await;
    let leased = soon("a lease", workers.lease(lease(&session, "default", 30_000))).await;
    let job = leased.unwrap().into_inner().assignments.remove(0);
    let release = v1::ReleaseRequest {
        session: session.clone(),
        job_id: job.job_id,
        fence: job.fence,
        reason: "not mine".to_owned(),
    };
    soon("a release", workers.release(release)).await.unwrap();

    let leased = soon("a lease", workers.lease(lease(&session, "default", 30_000))).await;
    let job = leased.unwrap().into_inner().assignments.remove(0);
    assert_eq!(job.job_id, job_id);
    let fail = v1::FailRequest {
        session,
        job_id: job.job_id,
        fence: job.fence,
        class: v1::FailureClass::Permanent as i32,
        message: "no such model".to_owned(),
        ..v1::FailRequest::default()
    };
    let failed = soon("a failure", workers.fail(fail))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(failed.next, v1::JobState::Dead as i32);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_goes_away_leaves_its_job_to_the_next() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    let mut first = workers(&cluster).await;
    let (session, other) = (session_id(), session_id());
    let waiting =
        tokio::spawn(async move { first.lease(lease(&session, "default", 30_000)).await });
    let count = |cluster: &TestCluster| cluster.node(0).metrics().encode();
    soon("a session", async {
        while !count(&cluster).contains("leasehold_worker_sessions 1") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    waiting.abort();
    let _aborted = waiting.await;

    let job_id = submitter.submit("default", b"hello").await;
    let mut second = workers(&cluster).await;
    let leased = soon("a lease", second.lease(lease(&other, "default", 30_000))).await;
    let job = leased.unwrap().into_inner().assignments.remove(0);
    assert_eq!(job.job_id, job_id);
    assert_eq!(submitter.get(&job_id).await.tries.unwrap().lost, 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_queue_and_a_session_in_use_are_refused_with_the_way_out() {
    let cluster = TestCluster::start(1).await;
    let mut workers = workers(&cluster).await;
    let unknown = soon("a refusal", workers.lease(lease(&session_id(), "chta", 0))).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(
        unknown.message().contains("leasehold queue create chta"),
        "{unknown:?}"
    );

    let session = session_id();
    let _stream = TestWorker::resume(&cluster, 0, "default", &session, 1, Vec::new()).await;
    let in_use = soon("a refusal", workers.lease(lease(&session, "default", 0))).await;
    let in_use = in_use.unwrap_err();
    assert_eq!(in_use.code(), Code::FailedPrecondition);
    assert!(in_use.message().contains("already"), "{in_use:?}");
    cluster.stop().await;
}
