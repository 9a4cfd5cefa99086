//! What the demo asks of its cluster.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_client::{Client, ClientError, Kind};
use leasehold_types::limits;
use tonic::transport::Channel;

use super::view::Snapshot;
use crate::commands::reach;

/// The cluster through some of its regions.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
}

/// A lease that a region's worker held when the region was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldLease {
    pub(crate) job_id: String,
    pub(crate) fence: String,
    pub(crate) session: String,
}

impl Cluster {
    /// Through these endpoints only.
    pub(crate) fn through(endpoints: &[String]) -> Result<Self, ClientError> {
        let client = Client::builder()
            .endpoints(endpoints.iter().cloned())
            .timeout(Duration::from_secs(30));
        Ok(Self {
            client: client.build()?,
        })
    }

    pub(crate) async fn shards(&self) -> Result<Vec<v1::Shard>, ClientError> {
        reach::shards(&self.client).await
    }

    pub(crate) async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        Ok(Snapshot::of(self.shards().await?))
    }

    pub(crate) async fn create_queue(
        &self,
        name: &str,
        lease: Duration,
    ) -> Result<(), ClientError> {
        let policy = v1::QueuePolicyChange {
            lease_ms: Some(reach::millis(lease)),
            stall_limit_ms: Some(20_000),
            attempt_limit_ms: Some(60_000),
            ..v1::QueuePolicyChange::default()
        };
        let request = v1::CreateQueueRequest {
            name: name.to_owned(),
            policy: Some(policy),
        };
        let ask = |channel: Channel| {
            let request = request.clone();
            async move { reach::admin(channel).create_queue(request).await }
        };
        self.client.call(Kind::Write, ask).await?;
        Ok(())
    }

    pub(crate) async fn get(&self, job_id: &str) -> Result<v1::Job, ClientError> {
        let ask = |channel: Channel| {
            let request = v1::GetRequest {
                job_id: job_id.to_owned(),
            };
            async move { reach::jobs(channel).get(request).await }
        };
        let answer = self.client.call(Kind::Read, ask).await?;
        Ok(answer.job.unwrap_or_default())
    }

    /// What the workers of a region hold right now.
    pub(crate) async fn leases_in(&self, region: &str) -> Result<Vec<HeldLease>, ClientError> {
        let ask = |channel: Channel| {
            let request = v1::ListRequest {
                state: i32::from(v1::JobState::Leased),
                limit: u32::try_from(limits::PAGE_JOBS).unwrap_or(u32::MAX),
                ..v1::ListRequest::default()
            };
            async move { reach::jobs(channel).list(request).await }
        };
        let page = self.client.call(Kind::Read, ask).await?;
        Ok(page
            .jobs
            .into_iter()
            .filter_map(|job| held(job, region))
            .collect())
    }
}

fn held(job: v1::Job, region: &str) -> Option<HeldLease> {
    let lease = job.lease.filter(|lease| lease.region == region)?;
    Some(HeldLease {
        job_id: job.job_id,
        fence: lease.fence,
        session: lease.session,
    })
}
