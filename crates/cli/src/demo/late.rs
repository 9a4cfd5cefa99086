//! The late writer: what a worker of the killed region would send if it came back from the dead.

use leasehold_api::v1;
use leasehold_api::v1::workers_client::WorkersClient;
use leasehold_client::{ClientError, Kind};
use leasehold_types::ErrorCode;
use tonic::transport::Channel;

use super::cluster::{Cluster, HeldLease};

/// Leases of the killed region, until each job was seen under another one.
pub(crate) struct LateWriter {
    waiting: Vec<HeldLease>,
    pub(crate) sent: usize,
    pub(crate) refused: usize,
}

/// When a job was first seen to run again, as time before now.
pub(crate) type RunningFor = Option<std::time::Duration>;

impl LateWriter {
    pub(crate) fn new(held: Vec<HeldLease>) -> Self {
        Self {
            waiting: held,
            sent: 0,
            refused: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Looks at each job whose old lease may be over. Where it is, sends a result under the old fence, which must be
    /// refused. Gives the longest time that one of them has been running again.
    pub(crate) async fn look(&mut self, cluster: &Cluster) -> RunningFor {
        let mut running = None;
        let mut waiting = Vec::new();
        for held in std::mem::take(&mut self.waiting) {
            match cluster.get(&held.job_id).await {
                Ok(job) if moved_on(&job, &held) => {
                    running = running.max(running_again(&job));
                    self.send(cluster, &held).await;
                }
                Ok(_) | Err(_) => waiting.push(held),
            }
        }
        self.waiting = waiting;
        running
    }

    async fn send(&mut self, cluster: &Cluster, held: &HeldLease) {
        let ask = |channel: Channel| {
            let request = v1::CompleteRequest {
                session: held.session.clone(),
                job_id: held.job_id.clone(),
                fence: held.fence.clone(),
                result: "a result from the dead".into(),
                ..v1::CompleteRequest::default()
            };
            async move { WorkersClient::new(channel).complete(request).await }
        };
        let answer = cluster.client.call(Kind::Write, ask).await;
        self.sent += 1;
        self.refused += usize::from(is_stale(&answer));
    }
}

fn is_stale(answer: &Result<v1::CompleteResponse, ClientError>) -> bool {
    matches!(answer, Err(error) if error.code() == ErrorCode::StaleFence)
}

/// Whether the lease that we know of is no longer the job's.
fn moved_on(job: &v1::Job, held: &HeldLease) -> bool {
    job.lease
        .as_ref()
        .is_none_or(|lease| lease.fence != held.fence)
}

fn running_again(job: &v1::Job) -> RunningFor {
    let lease = job.lease.as_ref()?;
    Some(std::time::Duration::from_millis(lease.running_ms))
}
