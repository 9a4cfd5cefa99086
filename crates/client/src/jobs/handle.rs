//! A job that was taken in, and what can be asked about it.

use std::time::Duration;

use bytes::Bytes;
use leasehold_core::shard::outcome::Submitted;
use leasehold_core::shard::view::{JobStatus, JobView};
use leasehold_types::JobId;

use crate::client::Client;
use crate::error::ClientError;

/// A job that the cluster has taken in.
#[derive(Debug, Clone)]
pub struct JobHandle {
    client: Client,
    submitted: Submitted,
}

impl JobHandle {
    pub(super) const fn new(client: Client, submitted: Submitted) -> Self {
        Self { client, submitted }
    }

    /// The job's id. Another than the one submitted under where the key was known before.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.submitted.job
    }

    /// Whether an earlier submit had made the job.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.submitted.repeated
    }

    /// The job as it is now; see [`Client::get`].
    ///
    /// # Errors
    /// See [`Client::get`].
    pub async fn get(&self) -> Result<JobView, ClientError> {
        self.client.get(self.id()).await
    }

    /// The job once it has ended; see [`Client::wait`].
    ///
    /// # Errors
    /// See [`Client::wait`].
    pub async fn wait(&self, timeout: Duration) -> Result<JobView, ClientError> {
        self.client.wait(self.id(), timeout).await
    }

    /// The job's result, once it has one.
    ///
    /// # Errors
    /// [`ClientError::NoResult`] when the job ended without one, and those of [`Client::wait`].
    pub async fn result(&self, timeout: Duration) -> Result<Bytes, ClientError> {
        let view = self.wait(timeout).await?;
        result_of(view)
    }

    /// Ends the job unless it has ended; see [`Client::cancel`].
    ///
    /// # Errors
    /// See [`Client::cancel`].
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<bool, ClientError> {
        self.client.cancel(self.id(), reason).await
    }
}

fn result_of(view: JobView) -> Result<Bytes, ClientError> {
    let job_id = view.id;
    let state = leasehold_api::convert::view::name_of(&view.status);
    match view.status {
        JobStatus::Done { result, .. } => Ok(result),
        JobStatus::Cancelled { reason, .. } => Err(ClientError::NoResult {
            job_id,
            class: None,
            reason,
        }),
        JobStatus::Dead { class, reason, .. } => Err(ClientError::NoResult {
            job_id,
            class: Some(class),
            reason,
        }),
        JobStatus::Waiting { .. } | JobStatus::Ready | JobStatus::Leased { .. } => {
            Err(ClientError::NotEnded { job_id, state })
        }
    }
}
