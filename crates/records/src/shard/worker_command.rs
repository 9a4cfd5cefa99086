//! What becomes of a lease: granted, heard of, completed, failed, expired, released.

use leasehold_core::shard::command::{
    Complete, Contact, Expire, Fail, Grant, Release, ReleaseCause,
};
use leasehold_types::SessionId;

use super::choice::{class, phase, read_class, read_phase, read_reason, reason};
use crate::error::DecodeError;
use crate::field::{In, bits, digest, fence, job, span_if_any, stamp, text};
use crate::store::v1;

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        Self {
            job: job(grant.job),
            session: bits(grant.session.get()),
            worker: text(&grant.worker),
            region: text(&grant.region),
        }
    }
}

impl TryFrom<v1::Grant> for Grant {
    type Error = DecodeError;

    fn try_from(grant: v1::Grant) -> Result<Self, DecodeError> {
        let at = In("Grant");
        Ok(Self {
            job: at.job("job", &grant.job)?,
            session: SessionId::from_random(at.bits("session", &grant.session)?),
            worker: at.name("worker", &grant.worker)?,
            region: at.name("region", &grant.region)?,
        })
    }
}

impl From<&Contact> for v1::Contact {
    fn from(contact: &Contact) -> Self {
        Self {
            job: job(contact.job),
            fence: fence(contact.fence),
            progress: contact.progress,
            progressed_at_us: contact.progressed_at.as_micros(),
            phase: phase(contact.phase),
        }
    }
}

impl TryFrom<v1::Contact> for Contact {
    type Error = DecodeError;

    fn try_from(contact: v1::Contact) -> Result<Self, DecodeError> {
        let at = In("Contact");
        Ok(Self {
            job: at.job("job", &contact.job)?,
            fence: at.nested("fence", contact.fence)?,
            progress: contact.progress,
            progressed_at: stamp(contact.progressed_at_us),
            phase: read_phase(at, contact.phase)?,
        })
    }
}

impl From<&Complete> for v1::Complete {
    fn from(complete: &Complete) -> Self {
        Self {
            job: job(complete.job),
            fence: fence(complete.fence),
            result: complete.result.clone(),
            digest: digest(complete.digest),
        }
    }
}

impl TryFrom<v1::Complete> for Complete {
    type Error = DecodeError;

    fn try_from(complete: v1::Complete) -> Result<Self, DecodeError> {
        let at = In("Complete");
        Ok(Self {
            job: at.job("job", &complete.job)?,
            fence: at.nested("fence", complete.fence)?,
            result: complete.result,
            digest: at.digest("digest", &complete.digest)?,
        })
    }
}

impl From<&Fail> for v1::Fail {
    fn from(fail: &Fail) -> Self {
        Self {
            job: job(fail.job),
            fence: fence(fail.fence),
            class: class(fail.class),
            message: fail.message.clone(),
            detail: fail.detail.clone(),
            retry_after: span_if_any(fail.retry_after),
        }
    }
}

impl TryFrom<v1::Fail> for Fail {
    type Error = DecodeError;

    fn try_from(fail: v1::Fail) -> Result<Self, DecodeError> {
        let at = In("Fail");
        Ok(Self {
            job: at.job("job", &fail.job)?,
            fence: at.nested("fence", fail.fence)?,
            class: read_class(at, fail.class)?,
            message: fail.message,
            detail: fail.detail,
            retry_after: at.span_if_any("retry_after", fail.retry_after)?,
        })
    }
}

impl From<&Expire> for v1::Expire {
    fn from(expire: &Expire) -> Self {
        Self {
            job: job(expire.job),
            fence: expire.fence.and_then(fence),
            reason: reason(expire.reason),
        }
    }
}

impl TryFrom<v1::Expire> for Expire {
    type Error = DecodeError;

    fn try_from(expire: v1::Expire) -> Result<Self, DecodeError> {
        let at = In("Expire");
        Ok(Self {
            job: at.job("job", &expire.job)?,
            fence: expire.fence.map(TryInto::try_into).transpose()?,
            reason: read_reason(at, expire.reason)?,
        })
    }
}

impl From<&Release> for v1::Release {
    fn from(release: &Release) -> Self {
        Self {
            job: job(release.job),
            fence: fence(release.fence),
            reason: release.reason.clone(),
            is_undelivered: release.cause == ReleaseCause::Undelivered,
        }
    }
}

impl TryFrom<v1::Release> for Release {
    type Error = DecodeError;

    fn try_from(release: v1::Release) -> Result<Self, DecodeError> {
        let at = In("Release");
        Ok(Self {
            job: at.job("job", &release.job)?,
            fence: at.nested("fence", release.fence)?,
            reason: release.reason,
            cause: match release.is_undelivered {
                true => ReleaseCause::Undelivered,
                false => ReleaseCause::Worker,
            },
        })
    }
}
