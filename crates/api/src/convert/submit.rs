//! Taking jobs in: new jobs, routes to mint ids in, and what came of a submit.

use std::time::Duration;

use leasehold_core::shard::Refusal;
use leasehold_core::shard::command::Submit;
use leasehold_core::shard::outcome::Submitted;
use leasehold_types::{Digest, IdempotencyKey, JobId, QueueName, TenantName, limits};
use prost::Message;

use super::spans::{bounded, if_given, ms, ms_up};
use super::{ConvertError, agreed_digest, at_most, labels, parsed, parsed_if_given};
use crate::status::ApiError;
use crate::v1;

/// What a new job has to say before an id can be minted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteQuery {
    /// The queue it goes to.
    pub queue: QueueName,
    /// Whose it is, where that is not the queue's owner.
    pub tenant: Option<TenantName>,
    /// The caller's own key, which fixes the shard.
    pub key: Option<IdempotencyKey>,
}

impl TryFrom<&v1::RouteRequest> for RouteQuery {
    type Error = ConvertError;

    fn try_from(wire: &v1::RouteRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            queue: parsed("queue", &wire.queue)?,
            tenant: parsed_if_given("tenant", &wire.tenant)?,
            key: parsed_if_given("idempotency_key", &wire.idempotency_key)?,
        })
    }
}

/// The same query as made from a new job whose id is still to be minted.
impl TryFrom<&v1::NewJob> for RouteQuery {
    type Error = ConvertError;

    fn try_from(wire: &v1::NewJob) -> Result<Self, ConvertError> {
        Ok(Self {
            queue: parsed("queue", &wire.queue)?,
            tenant: parsed_if_given("tenant", &wire.tenant)?,
            key: parsed_if_given("idempotency_key", &wire.idempotency_key)?,
        })
    }
}

/// Checks the number of jobs in one submit.
///
/// # Errors
/// When there is none, or more than [`limits::BATCH_JOBS`].
pub fn check_batch(jobs: &[v1::NewJob]) -> Result<(), ConvertError> {
    if jobs.is_empty() {
        return Err(ConvertError::Missing { field: "jobs" });
    }
    at_most("jobs", jobs.len(), limits::BATCH_JOBS, "jobs")
}

/// A new job as a command. Its id must be there: mint one first where it is not.
///
/// `computed` is the digest of the payload where the caller has computed it (a gateway); without it the digest given
/// is taken on trust (a leader, from a gateway).
///
/// # Errors
/// The first field that is missing, malformed or over its bound.
pub fn submit(wire: v1::NewJob, computed: Option<Digest>) -> Result<Submit, ConvertError> {
    at_most("payload", wire.payload.len(), limits::INLINE_BYTES, "bytes")?;
    let deadline = bounded("deadline_ms", wire.deadline_ms, limits::DELAY_MAX)?;
    Ok(Submit {
        job: super::job_id(&wire.job_id)?,
        queue: parsed("queue", &wire.queue)?,
        tenant: parsed_if_given("tenant", &wire.tenant)?,
        key: parsed_if_given("idempotency_key", &wire.idempotency_key)?,
        digest: agreed_digest("digest", &wire.digest, computed)?,
        payload: wire.payload,
        priority: priority(wire.priority)?,
        delay: bounded("delay_ms", wire.delay_ms, limits::DELAY_MAX)?,
        deadline: (!deadline.is_zero()).then_some(deadline),
        requirement: labels::requirement(wire.requirement)?,
    })
}

/// How many bytes a new job takes in a submit, with room for its frame there.
#[must_use]
pub fn wire_bytes(wire: &v1::NewJob) -> usize {
    const FRAME: usize = 8;
    wire.encoded_len() + FRAME
}

fn priority(given: Option<u32>) -> Result<u8, ConvertError> {
    let Some(given) = given else {
        return Ok(limits::PRIORITY_DEFAULT);
    };
    match u8::try_from(given) {
        Ok(priority) if priority <= limits::PRIORITY_MAX => Ok(priority),
        Ok(_) | Err(_) => Err(ConvertError::OverLimit {
            field: "priority",
            given: u64::from(given),
            most: u64::from(limits::PRIORITY_MAX),
            unit: "(9 is the highest)",
        }),
    }
}

impl From<Submit> for v1::NewJob {
    fn from(submit: Submit) -> Self {
        Self {
            job_id: submit.job.to_string(),
            queue: submit.queue.into(),
            tenant: submit.tenant.map(String::from).unwrap_or_default(),
            idempotency_key: submit.key.map(String::from).unwrap_or_default(),
            payload: submit.payload,
            digest: submit.digest.as_bytes().to_vec().into(),
            priority: Some(u32::from(submit.priority)),
            delay_ms: ms(submit.delay),
            deadline_ms: submit.deadline.map(ms_up).unwrap_or_default(),
            requirement: Some((&submit.requirement).into()),
        }
    }
}

impl From<Submitted> for v1::SubmitResult {
    fn from(submitted: Submitted) -> Self {
        let accepted = v1::Accepted {
            job_id: submitted.job.to_string(),
            repeated: submitted.repeated,
        };
        Self {
            result: Some(v1::submit_result::Result::Accepted(accepted)),
        }
    }
}

impl From<ApiError> for v1::SubmitResult {
    fn from(error: ApiError) -> Self {
        Self {
            result: Some(v1::submit_result::Result::Error(error.into())),
        }
    }
}

impl From<&Refusal> for v1::SubmitResult {
    fn from(refusal: &Refusal) -> Self {
        ApiError::from(refusal).into()
    }
}

/// What came of one job of a submit, as its submitter reads it.
///
/// # Errors
/// The error that the job was answered with. An answer that cannot be read leaves the outcome unknown.
pub fn submitted(wire: v1::SubmitResult) -> Result<Submitted, ApiError> {
    match wire.result {
        Some(v1::submit_result::Result::Accepted(accepted)) => Ok(Submitted {
            job: accepted_id(&accepted)?,
            repeated: accepted.repeated,
        }),
        Some(v1::submit_result::Result::Error(error)) => Err(error.into()),
        None => Err(ApiError::unknown("the answer to the submit is empty")),
    }
}

fn accepted_id(accepted: &v1::Accepted) -> Result<JobId, ApiError> {
    super::job_id(&accepted.job_id)
        .map_err(|error| ApiError::unknown(format!("the answer to the submit is broken: {error}")))
}

/// How long a `Wait` may be held open.
///
/// # Errors
/// When more than [`limits::WAIT_MAX`] is asked.
pub fn wait_timeout(timeout_ms: u64) -> Result<Duration, ConvertError> {
    const UNSAID: Duration = Duration::from_secs(30);
    bounded("timeout_ms", timeout_ms, limits::WAIT_MAX)?;
    Ok(if_given(timeout_ms).unwrap_or(UNSAID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::requirement::Requirement;
    use leasehold_types::{ErrorCode, VirtualShard};
    use proptest::prelude::*;

    fn new_job() -> v1::NewJob {
        v1::NewJob {
            job_id: JobId::new(VirtualShard::new(3), [7; 12]).to_string(),
            queue: "chat".to_owned(),
            digest: vec![1; 32].into(),
            ..v1::NewJob::default()
        }
    }

    fn refused(change: impl FnOnce(&mut v1::NewJob)) -> String {
        let mut wire = new_job();
        change(&mut wire);
        submit(wire, None).unwrap_err().to_string()
    }

    prop_compose! {
        fn any_submit()(
            shard: u16, random: [u8; 12], digest: [u8; 32],
            tenant in prop::option::of("[a-z]{1,10}"),
            key in prop::option::of("[!-~]{1,30}"),
            payload in prop::collection::vec(any::<u8>(), 0..100),
            priority in 0..=limits::PRIORITY_MAX,
            delay_ms in 0..1_000_000_u64,
            deadline_ms in prop::option::of(1..1_000_000_u64),
            vram: u64,
        ) -> Submit {
            Submit {
                job: JobId::new(VirtualShard::new(shard), random),
                queue: "chat".parse().unwrap(),
                tenant: tenant.map(|name| name.parse().unwrap()),
                key: key.map(|key| key.parse().unwrap()),
                payload: payload.into(),
                digest: Digest::new(digest),
                priority,
                delay: Duration::from_millis(delay_ms),
                deadline: deadline_ms.map(Duration::from_millis),
                requirement: Requirement {
                    capacity: [("vram_gib".into(), vram)].into(),
                    ..Requirement::default()
                },
            }
        }
    }

    proptest! {
        #[test]
        fn new_job_survives_the_wire(job in any_submit()) {
            let wire = v1::NewJob::from(job.clone());
            prop_assert_eq!(submit(wire.clone(), None).unwrap(), job.clone());
            prop_assert_eq!(submit(wire, Some(job.digest)).unwrap(), job);
        }
    }

    #[test]
    fn every_limit_of_a_new_job_is_refused_by_the_name_of_its_field() {
        assert!(refused(|job| job.job_id.clear()).starts_with("job_id is missing"));
        assert!(refused(|job| job.job_id = "x".to_owned()).starts_with("job_id: malformed"));
        assert!(refused(|job| job.queue.clear()).starts_with("queue is missing"));
        assert!(refused(|job| job.queue = "A".to_owned()).starts_with("queue: "));
        assert!(refused(|job| job.tenant = "a b".to_owned()).starts_with("tenant: "));
        let long_key = "k".repeat(limits::IDEMPOTENCY_KEY_BYTES + 1);
        assert!(refused(|job| job.idempotency_key = long_key).starts_with("idempotency_key: "));
        let big = vec![0; limits::INLINE_BYTES + 1];
        assert_eq!(
            refused(|job| job.payload = big.into()),
            "payload is 65537 bytes, at most 65536 are taken"
        );
        assert!(refused(|job| job.digest = vec![1].into()).starts_with("digest: "));
        assert!(refused(|job| job.digest.clear()).starts_with("digest is missing"));
        assert!(refused(|job| job.priority = Some(10)).starts_with("priority is 10"));
        assert!(refused(|job| job.priority = Some(256)).starts_with("priority is 256"));
        assert!(refused(|job| job.delay_ms = u64::MAX).starts_with("delay_ms is"));
        assert!(refused(|job| job.deadline_ms = u64::MAX).starts_with("deadline_ms is"));
    }

    #[test]
    fn what_a_new_job_leaves_open_takes_its_default() {
        let job = submit(new_job(), None).unwrap();
        assert_eq!(job.priority, limits::PRIORITY_DEFAULT);
        assert_eq!((job.tenant, job.key, job.deadline), (None, None, None));
        assert_eq!(job.requirement, Requirement::default());
    }

    #[test]
    fn size_of_a_submit_is_at_most_the_sum_of_its_jobs() {
        let job = v1::NewJob {
            payload: vec![0; limits::INLINE_BYTES].into(),
            ..new_job()
        };
        let bytes = 3 * wire_bytes(&job);
        let jobs = vec![job; 3];
        assert!(v1::SubmitRequest { jobs }.encoded_len() <= bytes);
    }

    #[test]
    fn batch_is_never_empty_and_never_over_its_bound() {
        assert!(check_batch(&[]).is_err());
        assert!(check_batch(&vec![v1::NewJob::default(); limits::BATCH_JOBS]).is_ok());
        let over = vec![v1::NewJob::default(); limits::BATCH_JOBS + 1];
        assert!(check_batch(&over).unwrap_err().to_string().contains("1000"));
    }

    #[test]
    fn results_come_back_as_they_were_given() {
        let accepted = Submitted {
            job: JobId::new(VirtualShard::new(1), [2; 12]),
            repeated: true,
        };
        assert_eq!(submitted(accepted.into()), Ok(accepted));
        let full = Refusal::Full {
            what: "4000000 jobs",
            limit: 4_000_000,
            retry_after: Duration::from_micros(10),
        };
        let error = submitted(v1::SubmitResult::from(&full)).unwrap_err();
        assert_eq!(error.code, ErrorCode::ResourceExhausted);
        assert_eq!(error.retry_after, Some(Duration::from_millis(1)));
    }

    #[test]
    fn unreadable_answer_leaves_the_outcome_unknown() {
        let error = submitted(v1::SubmitResult { result: None }).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unknown);
    }

    #[test]
    fn wait_is_bounded_and_has_a_default() {
        assert_eq!(wait_timeout(0), Ok(Duration::from_secs(30)));
        assert_eq!(wait_timeout(60_000), Ok(limits::WAIT_MAX));
        assert!(wait_timeout(60_001).is_err());
    }
}
