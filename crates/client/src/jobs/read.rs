//! Looking at jobs and ending them.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use leasehold_api::convert::jobs::job_page;
use leasehold_api::convert::view::{job_view, name_of};
use leasehold_api::{ConvertError, v1};
use leasehold_core::shard::view::{JobFilter, JobPage, JobStatus, JobView};
use leasehold_types::{JobId, Timestamp, limits};
use tokio::time::Instant;

use crate::client::{Call, Client, Kind, jobs};
use crate::clock::now;
use crate::error::ClientError;

/// Longest that one `Wait` is left open before it is asked again, so that a silent connection is noticed.
const WAIT_ROUND: Duration = Duration::from_secs(20);

impl Client {
    /// A job as it is now, with payload, result and the history of its attempts. Linearizable: it shows every submit
    /// and every result that was acknowledged before.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with `not_found` when there is no such job, or [`ClientError::Unavailable`].
    pub async fn get(&self, job: JobId) -> Result<JobView, ClientError> {
        let job_id = job.to_string();
        let ask = |channel| {
            let request = v1::GetRequest {
                job_id: job_id.clone(),
            };
            async move { jobs(channel).get(request).await }
        };
        let answer = self
            .repeat(self.ordinary(Kind::Read, Some(job)), ask)
            .await?;
        Ok(view(answer.job, answer.seen)?)
    }

    /// A job once it has ended, whichever way. Asked again over all endpoints for as long as it takes; ends at most one
    /// attempt's time after `timeout`.
    ///
    /// # Errors
    /// [`ClientError::NotEnded`] when it has not ended within `timeout`, and those of [`Client::get`].
    pub async fn wait(&self, job: JobId, timeout: Duration) -> Result<JobView, ClientError> {
        let deadline = now() + timeout;
        loop {
            let view = self.wait_once(job, deadline).await?;
            if has_ended(&view.status) {
                return Ok(view);
            }
            if now() >= deadline {
                let state = name_of(&view.status);
                return Err(ClientError::NotEnded { job_id: job, state });
            }
        }
    }

    async fn wait_once(&self, job: JobId, deadline: Instant) -> Result<JobView, ClientError> {
        let left = deadline.saturating_duration_since(now());
        let open = left.min(WAIT_ROUND).max(Duration::from_millis(1));
        let request = v1::WaitRequest {
            job_id: job.to_string(),
            timeout_ms: u64::try_from(open.as_millis()).unwrap_or(u64::MAX).max(1),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { jobs(channel).wait(request).await }
        };
        let ordinary = self.ordinary(Kind::Read, Some(job));
        let call = Call {
            total: left + ordinary.attempt,
            attempt: ordinary.attempt + open,
            ..ordinary
        };
        let answer = self.repeat(call, ask).await?;
        Ok(view(answer.job, answer.seen)?)
    }

    /// One page of jobs, without payloads, results and histories; [`JobPage::next`] goes into
    /// [`JobFilter::after`] for the page after it. A limit of 0 asks for 100.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the filter is out of bounds, or [`ClientError::Unavailable`].
    pub async fn page(&self, filter: &JobFilter) -> Result<JobPage, ClientError> {
        let request = v1::ListRequest::from(filter);
        let ask = |channel| {
            let request = request.clone();
            async move { jobs(channel).list(request).await }
        };
        let answer = self.call(Kind::Read, ask).await?;
        Ok(job_page(answer)?)
    }

    /// All jobs that fit, page by page, in the order of their ids. The limit of the filter is the size of a page.
    pub fn list(&self, filter: JobFilter) -> impl Stream<Item = Result<JobView, ClientError>> + '_ {
        let limit = match filter.limit {
            0 => limits::PAGE_JOBS,
            given => given.min(limits::PAGE_JOBS),
        };
        let first = Some(JobFilter { limit, ..filter });
        let pages = stream::try_unfold(first, async |filter| self.next_page(filter).await);
        pages
            .map_ok(|jobs| stream::iter(jobs).map(Ok))
            .try_flatten()
    }

    async fn next_page(
        &self,
        filter: Option<JobFilter>,
    ) -> Result<Option<(Vec<JobView>, Option<JobFilter>)>, ClientError> {
        let Some(filter) = filter else {
            return Ok(None);
        };
        let page = self.page(&filter).await?;
        let next = page.next.map(|last| JobFilter {
            after: Some(last),
            ..filter
        });
        Ok(Some((page.jobs, next)))
    }

    /// Ends a job that has not ended; tells whether it had been cancelled before.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such job or it has ended, [`ClientError::Unavailable`], or
    /// [`ClientError::Unknown`].
    pub async fn cancel(&self, job: JobId, reason: impl Into<String>) -> Result<bool, ClientError> {
        let request = v1::CancelRequest {
            job_id: job.to_string(),
            reason: reason.into(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { jobs(channel).cancel(request).await }
        };
        let call = self.ordinary(Kind::Write, Some(job));
        Ok(self.repeat(call, ask).await?.repeated)
    }
}

fn view(job: Option<v1::Job>, seen: Option<v1::Seen>) -> Result<JobView, ConvertError> {
    let job = job.ok_or(ConvertError::Missing { field: "job" })?;
    let stamp = seen.map_or(0, |seen| seen.stamp_us);
    job_view(job, Timestamp::from_micros(stamp))
}

const fn has_ended(status: &JobStatus) -> bool {
    match status {
        JobStatus::Done { .. } | JobStatus::Cancelled { .. } | JobStatus::Dead { .. } => true,
        JobStatus::Waiting { .. } | JobStatus::Ready | JobStatus::Leased { .. } => false,
    }
}
