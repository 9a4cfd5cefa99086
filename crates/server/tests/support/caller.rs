//! What a submitter, a worker and an operator do to a node, by plain calls.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use leasehold_api::v1;
use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_api::v1::submit_result::Result as Submitted;
use leasehold_api::v1::workers_client::WorkersClient;
use leasehold_server::node::Node;
use tonic::Status;
use tonic::transport::Channel;

use crate::nodes::in_time;

/// The worker of every lease.
pub(crate) const WORKER: &str = "worker-1";
const SESSION: &str = "w-00000000000000000000000000000001";

pub(crate) struct Caller {
    jobs: JobsClient<Channel>,
    workers: WorkersClient<Channel>,
    admin: AdminClient<Channel>,
}

impl Caller {
    pub(crate) async fn of(node: &Node) -> Self {
        let address = format!("http://{}", node.addresses().client);
        Self {
            jobs: JobsClient::connect(address.clone()).await.unwrap(),
            workers: WorkersClient::connect(address.clone()).await.unwrap(),
            admin: AdminClient::connect(address).await.unwrap(),
        }
    }

    pub(crate) async fn create_queue(&mut self, name: &str, policy: v1::QueuePolicyChange) {
        let request = v1::CreateQueueRequest {
            name: name.to_owned(),
            policy: Some(policy),
        };
        in_time(self.admin.create_queue(request)).await.unwrap();
    }

    pub(crate) async fn queue(&mut self, name: &str) -> v1::Queue {
        let name = name.to_owned();
        let answer = in_time(self.admin.get_queue(v1::GetQueueRequest { name })).await;
        answer.unwrap().into_inner().queue.unwrap()
    }

    pub(crate) async fn submit(&mut self, job: v1::NewJob) -> Result<v1::Accepted, v1::Error> {
        let jobs = vec![job];
        let answer = in_time(self.jobs.submit(v1::SubmitRequest { jobs })).await;
        let result = answer.unwrap().into_inner().results.remove(0);
        match result.result.unwrap() {
            Submitted::Accepted(accepted) => Ok(accepted),
            Submitted::Error(error) => Err(error),
        }
    }

    pub(crate) async fn job(&mut self, id: &str) -> v1::Job {
        self.try_job(id).await.unwrap()
    }

    pub(crate) async fn try_job(&mut self, id: &str) -> Result<v1::Job, Status> {
        let job_id = id.to_owned();
        let answer = in_time(self.jobs.get(v1::GetRequest { job_id })).await?;
        Ok(answer.into_inner().job.unwrap())
    }

    /// Every job of a queue, without payloads, results and histories.
    pub(crate) async fn list(&mut self, queue: &str) -> Vec<v1::Job> {
        let request = v1::ListRequest {
            queue: queue.to_owned(),
            limit: 1_000,
            ..v1::ListRequest::default()
        };
        let listed = in_time(self.jobs.list(request)).await;
        listed.unwrap().into_inner().jobs
    }

    pub(crate) async fn cancel(&mut self, id: &str, reason: &str) {
        let request = v1::CancelRequest {
            job_id: id.to_owned(),
            reason: reason.to_owned(),
        };
        in_time(self.jobs.cancel(request)).await.unwrap();
    }

    /// The next job of a queue.
    pub(crate) async fn lease(&mut self, queue: &str) -> v1::Assignment {
        let request = v1::LeaseRequest {
            session: SESSION.to_owned(),
            worker: WORKER.to_owned(),
            queues: vec![queue.to_owned()],
            jobs: 1,
            wait_ms: 30_000,
            ..v1::LeaseRequest::default()
        };
        let leased = in_time(self.workers.lease(request)).await;
        leased.unwrap().into_inner().assignments.remove(0)
    }

    pub(crate) async fn renew(&mut self, lease: &v1::Assignment) -> v1::RenewalAnswer {
        let renewal = v1::Renewal {
            job_id: lease.job_id.clone(),
            fence: lease.fence.clone(),
            progress: 1,
            phase: v1::WorkPhase::Running as i32,
        };
        let request = v1::RenewRequest {
            session: SESSION.to_owned(),
            renewals: vec![renewal],
        };
        let renewed = in_time(self.workers.renew(request)).await.unwrap();
        renewed.into_inner().answers.remove(0)
    }

    pub(crate) async fn complete(&mut self, lease: &v1::Assignment, result: &'static [u8]) {
        let request = v1::CompleteRequest {
            session: SESSION.to_owned(),
            job_id: lease.job_id.clone(),
            fence: lease.fence.clone(),
            result: result.into(),
            ..v1::CompleteRequest::default()
        };
        let completed = in_time(self.workers.complete(request)).await;
        assert!(!completed.unwrap().into_inner().repeated);
    }

    pub(crate) async fn fail(&mut self, lease: &v1::Assignment, fail: v1::FailRequest) {
        let request = v1::FailRequest {
            session: SESSION.to_owned(),
            job_id: lease.job_id.clone(),
            fence: lease.fence.clone(),
            ..fail
        };
        in_time(self.workers.fail(request)).await.unwrap();
    }
}
