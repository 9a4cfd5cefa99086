//! A job as a shard keeps it: header and body apart, since a checkpoint will write them apart.

use std::sync::Arc;

use bytes::Bytes;
use leasehold_core::shard::job::{AttemptEnd, AttemptRecord, Job, JobBody, JobHeader, Tries};

use super::choice::{class, read_class, read_reason, reason};
use crate::error::DecodeError;
use crate::field::{In, digest, encoded, fence, job, stamp, text, text_if_any};
use crate::store::v1::{self, attempt::End};

/// The bytes of a job's header.
#[must_use]
pub fn encode_header(header: &JobHeader) -> Bytes {
    encoded(&v1::JobHeader::from(header))
}

/// Reads back what [`encode_header`] gave.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_header(bytes: Bytes) -> Result<JobHeader, DecodeError> {
    In("JobHeader").message::<v1::JobHeader>(bytes)?.try_into()
}

/// The bytes of a job's body.
#[must_use]
pub fn encode_body(body: &JobBody) -> Bytes {
    encoded(&v1::JobBody::from(body))
}

/// Reads back what [`encode_body`] gave. Payload and result are slices of `bytes`.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_body(bytes: Bytes) -> Result<JobBody, DecodeError> {
    In("JobBody").message::<v1::JobBody>(bytes)?.try_into()
}

impl From<&Job> for v1::Job {
    fn from(job: &Job) -> Self {
        Self {
            header: Some((&job.header).into()),
            body: Some((&job.body).into()),
        }
    }
}

impl TryFrom<v1::Job> for Job {
    type Error = DecodeError;

    fn try_from(job: v1::Job) -> Result<Self, DecodeError> {
        let at = In("Job");
        Ok(Self {
            header: at.nested("header", job.header)?,
            body: at.nested("body", job.body)?,
        })
    }
}

impl From<&JobHeader> for v1::JobHeader {
    fn from(header: &JobHeader) -> Self {
        Self {
            id: job(header.id),
            queue: text(&header.queue),
            tenant: text(&header.tenant),
            key: text_if_any(header.key.as_ref()),
            digest: digest(header.digest),
            priority: header.priority.into(),
            requirement: Some(header.requirement.as_ref().into()),
            sequence: header.sequence,
            submitted_at_us: header.submitted_at.as_micros(),
            expires_at_us: header.expires_at.as_micros(),
            tries: Some((&header.tries).into()),
            last_fence: header.last_fence.and_then(fence),
            state: Some((&header.state).into()),
        }
    }
}

impl TryFrom<v1::JobHeader> for JobHeader {
    type Error = DecodeError;

    fn try_from(header: v1::JobHeader) -> Result<Self, DecodeError> {
        let at = In("JobHeader");
        Ok(Self {
            id: at.job("id", &header.id)?,
            queue: at.name("queue", &header.queue)?,
            tenant: at.name("tenant", &header.tenant)?,
            key: at.name_if_any("key", header.key.as_deref())?,
            digest: at.digest("digest", &header.digest)?,
            priority: at.narrow("priority", header.priority)?,
            requirement: Arc::new(at.nested("requirement", header.requirement)?),
            sequence: header.sequence,
            submitted_at: stamp(header.submitted_at_us),
            expires_at: stamp(header.expires_at_us),
            state: at.nested("state", header.state)?,
            tries: at.required("tries", header.tries)?.into(),
            last_fence: header.last_fence.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&JobBody> for v1::JobBody {
    fn from(body: &JobBody) -> Self {
        Self {
            payload: body.payload.clone(),
            history: body.history.iter().map(Into::into).collect(),
            result: body.result.clone(),
        }
    }
}

impl TryFrom<v1::JobBody> for JobBody {
    type Error = DecodeError;

    fn try_from(body: v1::JobBody) -> Result<Self, DecodeError> {
        let history = body.history.into_iter().map(TryInto::try_into);
        Ok(Self {
            payload: body.payload,
            history: history.collect::<Result<_, _>>()?,
            result: body.result,
        })
    }
}

impl From<&Tries> for v1::Tries {
    fn from(tries: &Tries) -> Self {
        Self {
            granted: tries.granted,
            failed: tries.failed,
            lost: tries.lost,
            infrastructure: tries.infrastructure,
            released: tries.released,
            redriven: tries.redriven,
        }
    }
}

impl From<v1::Tries> for Tries {
    fn from(tries: v1::Tries) -> Self {
        Self {
            granted: tries.granted,
            failed: tries.failed,
            lost: tries.lost,
            infrastructure: tries.infrastructure,
            released: tries.released,
            redriven: tries.redriven,
        }
    }
}

impl From<&AttemptRecord> for v1::Attempt {
    fn from(attempt: &AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            fence: fence(attempt.fence),
            worker: text(&attempt.worker),
            region: text(&attempt.region),
            started_at_us: attempt.started_at.as_micros(),
            ended_at_us: attempt.ended_at.as_micros(),
            end: Some((&attempt.end).into()),
        }
    }
}

impl TryFrom<v1::Attempt> for AttemptRecord {
    type Error = DecodeError;

    fn try_from(attempt: v1::Attempt) -> Result<Self, DecodeError> {
        let at = In("Attempt");
        Ok(Self {
            number: attempt.number,
            fence: at.nested("fence", attempt.fence)?,
            worker: at.name("worker", &attempt.worker)?,
            region: at.name("region", &attempt.region)?,
            started_at: stamp(attempt.started_at_us),
            ended_at: stamp(attempt.ended_at_us),
            end: at.nested("end", attempt.end)?,
        })
    }
}

impl From<&AttemptEnd> for End {
    fn from(end: &AttemptEnd) -> Self {
        match end {
            AttemptEnd::Completed => Self::Completed(v1::AttemptCompleted {}),
            AttemptEnd::Failed {
                class: failure,
                message,
                detail,
            } => Self::Failed(v1::AttemptFailed {
                class: class(*failure),
                message: message.as_ref().into(),
                detail: detail.clone(),
            }),
            AttemptEnd::Expired(why) => Self::Expired(v1::AttemptExpired {
                reason: reason(*why),
            }),
            AttemptEnd::Released { reason } => Self::Released(v1::AttemptReleased {
                reason: reason.as_ref().into(),
            }),
            AttemptEnd::Cancelled => Self::Cancelled(v1::AttemptCancelled {}),
        }
    }
}

impl TryFrom<End> for AttemptEnd {
    type Error = DecodeError;

    fn try_from(end: End) -> Result<Self, DecodeError> {
        Ok(match end {
            End::Completed(v1::AttemptCompleted {}) => Self::Completed,
            End::Failed(failed) => Self::Failed {
                class: read_class(In("AttemptFailed"), failed.class)?,
                message: failed.message.into(),
                detail: failed.detail,
            },
            End::Expired(expired) => {
                Self::Expired(read_reason(In("AttemptExpired"), expired.reason)?)
            }
            End::Released(released) => Self::Released {
                reason: released.reason.into(),
            },
            End::Cancelled(v1::AttemptCancelled {}) => Self::Cancelled,
        })
    }
}
