//! The attempts at a job, and how many there were of each kind.

use bytes::Bytes;
use leasehold_core::shard::job::{AttemptEnd, AttemptRecord, Recent, Tries};

use super::choice::{class, read_class, read_reason, reason};
use crate::error::DecodeError;
use crate::field::{In, encoded, fence, stamp, text};
use crate::store::v1::{self, attempt::End};

/// The bytes of some attempts that are over, each with its job's place in the order of arrival.
#[must_use]
pub fn encode_pack<'a>(attempts: impl IntoIterator<Item = (u64, &'a AttemptRecord)>) -> Bytes {
    let attempts = attempts
        .into_iter()
        .map(|(sequence, attempt)| v1::PackedAttempt {
            sequence,
            attempt: Some(attempt.into()),
        });
    encoded(&v1::AttemptPack {
        attempts: attempts.collect(),
    })
}

/// Reads back what [`encode_pack`] gave, of one job.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_pack(bytes: Bytes, job: u64) -> Result<Vec<AttemptRecord>, DecodeError> {
    let pack: v1::AttemptPack = In("AttemptPack").message(bytes)?;
    let own = pack
        .attempts
        .into_iter()
        .filter(|packed| packed.sequence == job);
    own.map(|packed| In("PackedAttempt").nested("attempt", packed.attempt))
        .collect()
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

impl From<&Recent> for v1::RecentAttempts {
    fn from(recent: &Recent) -> Self {
        Self {
            worker: text(&recent.worker),
            class: recent.class.map(class),
            astray: recent.astray.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<v1::RecentAttempts> for Recent {
    type Error = DecodeError;

    fn try_from(recent: v1::RecentAttempts) -> Result<Self, DecodeError> {
        let at = In("RecentAttempts");
        let class = recent.class.map(|value| read_class(at, value));
        let astray = recent.astray.map(AttemptRecord::try_from).transpose()?;
        Ok(Self {
            worker: at.name("worker", &recent.worker)?,
            class: class.transpose()?,
            astray: astray.map(Box::new),
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
