//! Reading and ending jobs: lists and their cursors, cancel, redrive, discard.

use leasehold_core::shard::command::{Cancel, Discard, Redrive};
use leasehold_core::shard::view::{JobFilter, JobPage};
use leasehold_types::{JobId, ShardEpoch, Timestamp, limits};

use super::words::{failure_class_filter, state_filter};
use super::{ConvertError, at_most, job_id, parsed_if_given, view};
use crate::v1;

/// Jobs in a page whose request names no limit.
pub const PAGE_DEFAULT: usize = 100;

/// An empty field does not filter. The cursor is the id of the last job of the page before.
impl TryFrom<&v1::ListRequest> for JobFilter {
    type Error = ConvertError;

    fn try_from(wire: &v1::ListRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            queue: parsed_if_given("queue", &wire.queue)?,
            tenant: parsed_if_given("tenant", &wire.tenant)?,
            state: state_filter("state", wire.state)?,
            class: failure_class_filter("class", wire.class)?,
            after: parsed_if_given("cursor", &wire.cursor)?,
            limit: page_limit(wire.limit)?,
        })
    }
}

fn page_limit(given: u32) -> Result<usize, ConvertError> {
    if given == 0 {
        return Ok(PAGE_DEFAULT);
    }
    let given = usize::try_from(given).unwrap_or(usize::MAX);
    at_most("limit", given, limits::PAGE_JOBS, "jobs")?;
    Ok(given)
}

impl From<&JobFilter> for v1::ListRequest {
    fn from(filter: &JobFilter) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            queue: text(filter.queue.as_ref().map(|queue| queue.as_str())),
            tenant: text(filter.tenant.as_ref().map(|tenant| tenant.as_str())),
            state: filter.state.map_or(v1::JobState::Unspecified, Into::into) as i32,
            class: (filter.class).map_or(v1::FailureClass::Unspecified, Into::into) as i32,
            cursor: cursor(filter.after),
            limit: u32::try_from(filter.limit).unwrap_or(u32::MAX),
        }
    }
}

fn cursor(after: Option<JobId>) -> String {
    after.map(|job| job.to_string()).unwrap_or_default()
}

/// A page as an answer; `stamp` is the shard clock that its spans count from.
#[must_use]
pub fn list_response(page: JobPage, stamp: Timestamp) -> v1::ListResponse {
    let jobs = page.jobs.into_iter();
    v1::ListResponse {
        jobs: jobs.map(|job| view::job(job, stamp)).collect(),
        cursor: cursor(page.next),
    }
}

/// An answer as a page.
///
/// # Errors
/// The first field that cannot be read.
pub fn job_page(wire: v1::ListResponse) -> Result<JobPage, ConvertError> {
    let read = |job| view::job_view(job, Timestamp::ZERO);
    Ok(JobPage {
        next: parsed_if_given("cursor", &wire.cursor)?,
        jobs: wire.jobs.into_iter().map(read).collect::<Result<_, _>>()?,
    })
}

/// Which leadership answered, and the shard clock that the answer's spans count from.
#[must_use]
pub const fn seen(epoch: ShardEpoch, stamp: Timestamp) -> v1::Seen {
    v1::Seen {
        epoch: epoch.get(),
        stamp_us: stamp.as_micros(),
    }
}

impl TryFrom<v1::CancelRequest> for Cancel {
    type Error = ConvertError;

    fn try_from(wire: v1::CancelRequest) -> Result<Self, ConvertError> {
        at_most("reason", wire.reason.len(), limits::REASON_BYTES, "bytes")?;
        Ok(Self {
            job: job_id(&wire.job_id)?,
            reason: wire.reason,
        })
    }
}

impl TryFrom<&v1::RedriveRequest> for Redrive {
    type Error = ConvertError;

    fn try_from(wire: &v1::RedriveRequest) -> Result<Self, ConvertError> {
        job_id(&wire.job_id).map(|job| Self { job })
    }
}

impl TryFrom<&v1::DiscardRequest> for Discard {
    type Error = ConvertError;

    fn try_from(wire: &v1::DiscardRequest) -> Result<Self, ConvertError> {
        job_id(&wire.job_id).map(|job| Self { job })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::shard::command::FailureClass;
    use leasehold_core::shard::view::StateName;
    use leasehold_types::VirtualShard;

    #[test]
    fn filter_survives_the_wire() {
        let filter = JobFilter {
            queue: Some("chat".parse().unwrap()),
            tenant: Some("acme".parse().unwrap()),
            state: Some(StateName::Dead),
            class: Some(FailureClass::Poison),
            after: Some(JobId::new(VirtualShard::new(9), [1; 12])),
            limit: 17,
        };
        let wire = v1::ListRequest::from(&filter);
        assert_eq!(JobFilter::try_from(&wire), Ok(filter));
    }

    #[test]
    fn empty_filter_shows_everything_in_pages_of_the_default_size() {
        let filter = JobFilter::try_from(&v1::ListRequest::default()).unwrap();
        let everything = JobFilter {
            limit: PAGE_DEFAULT,
            ..JobFilter::default()
        };
        assert_eq!(filter, everything);
    }

    #[test]
    fn bad_cursor_and_oversized_page_are_refused_by_name() {
        let wire = v1::ListRequest {
            cursor: "page-2".to_owned(),
            ..v1::ListRequest::default()
        };
        let error = JobFilter::try_from(&wire).unwrap_err().to_string();
        assert!(error.starts_with("cursor: malformed"), "{error}");
        let wire = v1::ListRequest {
            limit: 1_001,
            ..v1::ListRequest::default()
        };
        let error = JobFilter::try_from(&wire).unwrap_err().to_string();
        assert!(error.starts_with("limit is 1001"), "{error}");
    }

    #[test]
    fn last_page_has_no_cursor() {
        let answer = list_response(JobPage::default(), Timestamp::ZERO);
        assert_eq!(answer.cursor, "");
        assert_eq!(job_page(answer), Ok(JobPage::default()));
    }

    #[test]
    fn overlong_reason_of_a_cancel_is_refused() {
        let wire = v1::CancelRequest {
            job_id: JobId::new(VirtualShard::new(9), [1; 12]).to_string(),
            reason: "x".repeat(limits::REASON_BYTES + 1),
        };
        let error = Cancel::try_from(wire).unwrap_err().to_string();
        assert!(error.starts_with("reason is 257"), "{error}");
    }
}
