//! What submitters, operators and leaders write. See `worker_command` for what workers do.

use leasehold_core::shard::command::{
    Cancel, Discard, LeaderStart, Purge, PutPolicy, Redrive, Submit,
};
use leasehold_types::{BootCount, NodeId, ShardEpoch};

use crate::error::DecodeError;
use crate::field::{In, digest, job, span, span_if_any, text, text_if_any};
use crate::store::v1;

impl From<&LeaderStart> for v1::LeaderStart {
    fn from(start: &LeaderStart) -> Self {
        Self {
            previous: start.previous.get(),
            node: start.node.get(),
            boot: start.boot.get(),
        }
    }
}

impl From<v1::LeaderStart> for LeaderStart {
    fn from(start: v1::LeaderStart) -> Self {
        Self {
            previous: ShardEpoch::new(start.previous),
            node: NodeId::new(start.node),
            boot: BootCount::new(start.boot),
        }
    }
}

impl From<&Submit> for v1::Submit {
    fn from(submit: &Submit) -> Self {
        Self {
            job: job(submit.job),
            queue: text(&submit.queue),
            tenant: text_if_any(submit.tenant.as_ref()),
            key: text_if_any(submit.key.as_ref()),
            payload: submit.payload.clone(),
            digest: digest(submit.digest),
            priority: submit.priority.into(),
            delay: span(submit.delay),
            deadline: span_if_any(submit.deadline),
            requirement: Some((&submit.requirement).into()),
        }
    }
}

impl TryFrom<v1::Submit> for Submit {
    type Error = DecodeError;

    fn try_from(submit: v1::Submit) -> Result<Self, DecodeError> {
        let at = In("Submit");
        Ok(Self {
            job: at.job("job", &submit.job)?,
            queue: at.name("queue", &submit.queue)?,
            tenant: at.name_if_any("tenant", submit.tenant.as_deref())?,
            key: at.name_if_any("key", submit.key.as_deref())?,
            payload: submit.payload,
            digest: at.digest("digest", &submit.digest)?,
            priority: at.narrow("priority", submit.priority)?,
            delay: at.span("delay", submit.delay)?,
            deadline: at.span_if_any("deadline", submit.deadline)?,
            requirement: at.nested("requirement", submit.requirement)?,
        })
    }
}

impl From<&Cancel> for v1::Cancel {
    fn from(cancel: &Cancel) -> Self {
        Self {
            job: job(cancel.job),
            reason: cancel.reason.clone(),
        }
    }
}

impl TryFrom<v1::Cancel> for Cancel {
    type Error = DecodeError;

    fn try_from(cancel: v1::Cancel) -> Result<Self, DecodeError> {
        Ok(Self {
            job: In("Cancel").job("job", &cancel.job)?,
            reason: cancel.reason,
        })
    }
}

impl From<&Redrive> for v1::Redrive {
    fn from(redrive: &Redrive) -> Self {
        let job = job(redrive.job);
        Self { job }
    }
}

impl TryFrom<v1::Redrive> for Redrive {
    type Error = DecodeError;

    fn try_from(redrive: v1::Redrive) -> Result<Self, DecodeError> {
        let job = In("Redrive").job("job", &redrive.job)?;
        Ok(Self { job })
    }
}

impl From<&Discard> for v1::Discard {
    fn from(discard: &Discard) -> Self {
        let job = job(discard.job);
        Self { job }
    }
}

impl TryFrom<v1::Discard> for Discard {
    type Error = DecodeError;

    fn try_from(discard: v1::Discard) -> Result<Self, DecodeError> {
        let job = In("Discard").job("job", &discard.job)?;
        Ok(Self { job })
    }
}

impl From<&Purge> for v1::Purge {
    fn from(purge: &Purge) -> Self {
        let limit = purge.limit;
        Self { limit }
    }
}

impl From<v1::Purge> for Purge {
    fn from(purge: v1::Purge) -> Self {
        let limit = purge.limit;
        Self { limit }
    }
}

impl From<&PutPolicy> for v1::PutPolicy {
    fn from(put: &PutPolicy) -> Self {
        Self {
            queue: text(&put.queue),
            policy: Some((&put.policy).into()),
            index: put.index,
        }
    }
}

impl TryFrom<v1::PutPolicy> for PutPolicy {
    type Error = DecodeError;

    fn try_from(put: v1::PutPolicy) -> Result<Self, DecodeError> {
        let at = In("PutPolicy");
        Ok(Self {
            queue: at.name("queue", &put.queue)?,
            policy: at.nested("policy", put.policy)?,
            index: put.index,
        })
    }
}
