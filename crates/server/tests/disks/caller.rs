//! Whoever submits and works, by single calls.

use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_api::v1::workers_client::WorkersClient;
use leasehold_api::{ApiError, v1};
use leasehold_server::node::Node;
use tonic::transport::Channel;

use crate::nodes::in_time;

pub(crate) struct Caller {
    jobs: JobsClient<Channel>,
    workers: WorkersClient<Channel>,
}

impl Caller {
    pub(crate) async fn of(node: &Node) -> Self {
        let address = format!("http://{}", node.addresses().client);
        Self {
            jobs: JobsClient::connect(address.clone()).await.unwrap(),
            workers: WorkersClient::connect(address).await.unwrap(),
        }
    }

    pub(crate) async fn submit(&mut self, job_id: &str) -> Result<v1::Accepted, ApiError> {
        let job = v1::NewJob {
            job_id: job_id.to_owned(),
            queue: "default".to_owned(),
            payload: "p".into(),
            ..v1::NewJob::default()
        };
        let request = v1::SubmitRequest { jobs: vec![job] };
        let response = in_time(self.jobs.submit(request)).await.unwrap();
        let result = response.into_inner().results.remove(0).result.unwrap();
        match result {
            v1::submit_result::Result::Accepted(accepted) => Ok(accepted),
            v1::submit_result::Result::Error(error) => Err(error.into()),
        }
    }

    pub(crate) async fn lease(&mut self, session: &str) -> v1::Assignment {
        let request = v1::LeaseRequest {
            session: session.to_owned(),
            worker: "script".to_owned(),
            queues: vec!["default".to_owned()],
            jobs: 1,
            wait_ms: 30_000,
            ..v1::LeaseRequest::default()
        };
        let leased = in_time(self.workers.lease(request)).await.unwrap();
        leased.into_inner().assignments.remove(0)
    }

    pub(crate) async fn renew(&mut self, session: &str, job: &v1::Assignment) -> v1::RenewalAnswer {
        let renewal = v1::Renewal {
            job_id: job.job_id.clone(),
            fence: job.fence.clone(),
            progress: 1,
            phase: v1::WorkPhase::Running as i32,
        };
        let request = v1::RenewRequest {
            session: session.to_owned(),
            renewals: vec![renewal],
        };
        let renewed = in_time(self.workers.renew(request)).await.unwrap();
        renewed.into_inner().answers.remove(0)
    }

    pub(crate) async fn complete(&mut self, session: &str, job: v1::Assignment) -> bool {
        let request = v1::CompleteRequest {
            session: session.to_owned(),
            job_id: job.job_id,
            fence: job.fence,
            result: "done".into(),
            ..v1::CompleteRequest::default()
        };
        let completed = in_time(self.workers.complete(request)).await.unwrap();
        !completed.into_inner().repeated
    }

    /// Every job with its state and result.
    pub(crate) async fn all_jobs(&mut self) -> Vec<(String, i32, Vec<u8>)> {
        let listed = in_time(self.jobs.list(v1::ListRequest {
            limit: 1000,
            ..v1::ListRequest::default()
        }))
        .await;
        let mut all = Vec::new();
        for job in listed.unwrap().into_inner().jobs {
            let job_id = job.job_id;
            let request = v1::GetRequest { job_id };
            let job = in_time(self.jobs.get(request)).await.unwrap();
            let job = job.into_inner().job.unwrap();
            all.push((
                job.job_id,
                job.state,
                job.done.unwrap_or_default().result.into(),
            ));
        }
        all.sort();
        all
    }

    pub(crate) async fn cancel(&mut self, job_id: &str) {
        let request = v1::CancelRequest {
            job_id: job_id.to_owned(),
            reason: "to make room".to_owned(),
        };
        in_time(self.jobs.cancel(request)).await.unwrap();
    }
}
