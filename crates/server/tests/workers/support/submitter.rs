//! The submitting side: queues and jobs, over gRPC.

use leasehold_api::v1;
use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::v1::jobs_client::JobsClient;
use tonic::transport::Channel;

use super::{TestCluster, soon};

/// Talks to one node.
pub(crate) struct Submitter {
    jobs: JobsClient<Channel>,
    admin: AdminClient<Channel>,
}

impl Submitter {
    pub(crate) async fn of(cluster: &TestCluster, node: usize) -> Self {
        let address = format!("http://{}", cluster.address(node));
        let channel = tonic::transport::Endpoint::new(address).expect("an address");
        let channel = soon("a connection", channel.connect()).await;
        let channel = channel.expect("the node listens");
        Self {
            jobs: JobsClient::new(channel.clone()),
            admin: AdminClient::new(channel),
        }
    }

    /// Creates a queue whose leases last so long.
    pub(crate) async fn create_queue(&mut self, name: &str, lease_ms: u64) {
        let request = v1::CreateQueueRequest {
            name: name.to_owned(),
            policy: Some(v1::QueuePolicyChange {
                lease_ms: Some(lease_ms),
                ..v1::QueuePolicyChange::default()
            }),
        };
        let created = soon("a queue", self.admin.create_queue(request)).await;
        created.expect("the queue is created");
    }

    /// Submits one job to the shard that this node prefers; its id.
    pub(crate) async fn submit(&mut self, queue: &str, payload: &[u8]) -> String {
        let job = v1::NewJob {
            queue: queue.to_owned(),
            payload: payload.to_vec().into(),
            ..v1::NewJob::default()
        };
        let request = v1::SubmitRequest { jobs: vec![job] };
        let response = soon("a submit", self.jobs.submit(request)).await;
        let mut results = response.expect("an answer").into_inner().results;
        match results.pop().and_then(|result| result.result) {
            Some(v1::submit_result::Result::Accepted(accepted)) => accepted.job_id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub(crate) async fn get(&mut self, job_id: &str) -> v1::Job {
        let request = v1::GetRequest {
            job_id: job_id.to_owned(),
        };
        let response = soon("a job's state", self.jobs.get(request)).await;
        let job = response.expect("an answer").into_inner().job;
        job.expect("the job")
    }

    /// Waits until the job has ended.
    pub(crate) async fn wait(&mut self, job_id: &str) -> v1::Job {
        let request = v1::WaitRequest {
            job_id: job_id.to_owned(),
            timeout_ms: 60_000,
        };
        let response = soon("a job's end", self.jobs.wait(request)).await;
        let job = response.expect("an answer").into_inner().job;
        job.expect("the job")
    }

    pub(crate) async fn cancel(&mut self, job_id: &str) {
        let request = v1::CancelRequest {
            job_id: job_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        let response = soon("a cancel", self.jobs.cancel(request)).await;
        response.expect("the job is cancelled");
    }
}
