//! Workers and leaders: hellos, offers of slots, assignments, renewals and their answers.

use std::time::Duration;

use bytes::Bytes;
use leasehold_core::requirement::Supply;
use leasehold_core::shard::Refusal;
use leasehold_core::shard::dispatcher::{Assignment, Offer, Renewal, RenewalAnswer};
use leasehold_core::shard::outcome::Stale;
use leasehold_types::{
    ErrorCode, FenceToken, JobId, NodeId, QueueName, RegionName, SessionId, ShardEpoch, WorkerName,
    limits,
};

use super::spans::{bounded, ms};
use super::words::work_phase;
use super::{ConvertError, at_most, fence, job_id, labels, parsed, parsed_if_given, session};
use crate::status::ApiError;
use crate::v1;

/// First message of a worker on every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Minted by the worker once in its life.
    pub session: SessionId,
    /// The worker's name.
    pub worker: WorkerName,
    /// Queues it serves; never empty.
    pub queues: Vec<QueueName>,
    /// What it can run.
    pub supply: Supply,
    /// What it still works on after a reconnect.
    pub leases: Vec<Renewal>,
    /// Its region, where that is not the gateway's.
    pub region: Option<RegionName>,
    /// The answer that ends a lease gives its slot back, without a word of the worker.
    pub slots_return: bool,
}

impl TryFrom<v1::WorkerHello> for Hello {
    type Error = ConvertError;

    fn try_from(wire: v1::WorkerHello) -> Result<Self, ConvertError> {
        Ok(Self {
            session: session(&wire.session)?,
            worker: parsed("worker", &wire.worker)?,
            queues: queues(&wire.queues)?,
            supply: labels::supply(wire.supply)?,
            leases: renewals(&wire.leases)?,
            region: parsed_if_given("region", &wire.region)?,
            slots_return: wire.slots_return,
        })
    }
}

impl From<&Hello> for v1::WorkerHello {
    fn from(hello: &Hello) -> Self {
        let region = hello.region.as_ref().map(RegionName::as_str);
        Self {
            session: hello.session.to_string(),
            worker: hello.worker.as_str().to_owned(),
            queues: queue_texts(&hello.queues),
            supply: Some((&hello.supply).into()),
            leases: hello.leases.iter().map(Into::into).collect(),
            region: region.unwrap_or_default().to_owned(),
            slots_return: hello.slots_return,
        }
    }
}

/// Queues that a worker serves.
///
/// # Errors
/// When there are none, more than [`limits::WORKER_QUEUES`], or one is malformed.
pub fn queues(wire: &[String]) -> Result<Vec<QueueName>, ConvertError> {
    if wire.is_empty() {
        return Err(ConvertError::Missing { field: "queues" });
    }
    at_most("queues", wire.len(), limits::WORKER_QUEUES, "queues")?;
    wire.iter().map(|queue| parsed("queues", queue)).collect()
}

fn queue_texts(queues: &[QueueName]) -> Vec<String> {
    queues
        .iter()
        .map(|queue| queue.as_str().to_owned())
        .collect()
}

/// Free slots of a worker.
///
/// # Errors
/// When there are more than [`limits::WORKER_CREDIT`].
pub fn free_slots(field: &'static str, free: u32) -> Result<u32, ConvertError> {
    if free <= limits::WORKER_CREDIT {
        return Ok(free);
    }
    Err(ConvertError::OverLimit {
        field,
        given: u64::from(free),
        most: u64::from(limits::WORKER_CREDIT),
        unit: "slots",
    })
}

/// An offer, and the leadership whose grants it counts.
///
/// # Errors
/// The first field that is missing, malformed or over its bound.
pub fn offer(wire: v1::WorkerOffer) -> Result<(Offer, ShardEpoch), ConvertError> {
    let offer = Offer {
        session: session(&wire.session)?,
        worker: parsed("worker", &wire.worker)?,
        region: parsed("region", &wire.region)?,
        gateway: NodeId::new(wire.gateway),
        queues: queues(&wire.queues)?,
        supply: labels::supply(wire.supply)?,
        free: free_slots("free", wire.free)?,
        message: wire.message,
        number: wire.number,
        granted_seen: wire.granted_seen,
    };
    Ok((offer, ShardEpoch::new(wire.epoch)))
}

/// An offer to the leader of an epoch.
#[must_use]
pub fn worker_offer(offer: &Offer, epoch: ShardEpoch) -> v1::WorkerOffer {
    v1::WorkerOffer {
        session: offer.session.to_string(),
        worker: offer.worker.as_str().to_owned(),
        region: offer.region.as_str().to_owned(),
        gateway: offer.gateway.get(),
        queues: queue_texts(&offer.queues),
        supply: Some((&offer.supply).into()),
        free: offer.free,
        message: offer.message,
        granted_seen: offer.granted_seen,
        epoch: epoch.get(),
        number: offer.number,
    }
}

/// The job of an assignment as the worker gets it.
impl From<Assignment> for v1::Assignment {
    fn from(assignment: Assignment) -> Self {
        Self {
            job_id: assignment.job.to_string(),
            queue: assignment.queue.into(),
            fence: assignment.fence.to_string(),
            attempt: assignment.attempt,
            payload: assignment.payload,
            lease_ms: ms(assignment.lease),
            attempt_limit_ms: ms(assignment.attempt_limit),
            remaining_ms: ms(assignment.remaining),
            counted_from: assignment.message,
        }
    }
}

/// An assignment as the worker's gateway gets it.
impl From<Assignment> for v1::SessionAssignment {
    fn from(assignment: Assignment) -> Self {
        Self {
            session: assignment.session.to_string(),
            grant: assignment.grant,
            assignment: Some(assignment.into()),
        }
    }
}

/// A leased job as its worker reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedJob {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// The lease's fence.
    pub fence: FenceToken,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What to work on.
    pub payload: Bytes,
    /// Length of the lease.
    pub lease: Duration,
    /// Longest the attempt may run.
    pub attempt_limit: Duration,
    /// Until the job's own deadline.
    pub remaining: Duration,
    /// Number of the worker's message that the lease counts from.
    pub counted_from: u64,
}

impl TryFrom<v1::Assignment> for LeasedJob {
    type Error = ConvertError;

    fn try_from(wire: v1::Assignment) -> Result<Self, ConvertError> {
        Ok(Self {
            job: job_id(&wire.job_id)?,
            queue: parsed("queue", &wire.queue)?,
            fence: fence(&wire.fence)?,
            attempt: wire.attempt,
            payload: wire.payload,
            lease: bounded("lease_ms", wire.lease_ms, limits::LEASE_MAX)?,
            attempt_limit: Duration::from_millis(wire.attempt_limit_ms),
            remaining: Duration::from_millis(wire.remaining_ms),
            counted_from: wire.counted_from,
        })
    }
}

impl From<&Renewal> for v1::Renewal {
    fn from(renewal: &Renewal) -> Self {
        Self {
            job_id: renewal.job.to_string(),
            fence: renewal.fence.to_string(),
            progress: renewal.progress,
            phase: v1::WorkPhase::from(renewal.phase) as i32,
        }
    }
}

impl TryFrom<&v1::Renewal> for Renewal {
    type Error = ConvertError;

    fn try_from(wire: &v1::Renewal) -> Result<Self, ConvertError> {
        Ok(Self {
            job: job_id(&wire.job_id)?,
            fence: fence(&wire.fence)?,
            progress: wire.progress,
            phase: work_phase("phase", wire.phase)?,
        })
    }
}

/// The renewals of one message.
///
/// # Errors
/// When there are more than [`limits::RENEWALS`], or one cannot be read.
pub fn renewals(wire: &[v1::Renewal]) -> Result<Vec<Renewal>, ConvertError> {
    at_most("renewals", wire.len(), limits::RENEWALS, "renewals")?;
    wire.iter().map(Renewal::try_from).collect()
}

impl From<RenewalAnswer> for v1::RenewalAnswer {
    fn from(answer: RenewalAnswer) -> Self {
        RenewalReply::from(answer).into()
    }
}

/// The answer to one renewal as its worker reads it. Unlike [`RenewalAnswer`] it may come from a gateway that could
/// not ask the leader, and carries errors as they crossed the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewalReply {
    /// Go on: the lease is this long again, counted from when the renewal was sent.
    Keep {
        /// The job.
        job: JobId,
        /// Its fence.
        fence: FenceToken,
        /// The lease's length.
        lease: Duration,
    },
    /// Stop: whatever comes of the work will be refused.
    Stop {
        /// The job.
        job: JobId,
        /// The fence that is stale.
        fence: FenceToken,
        /// Why.
        error: ApiError,
    },
    /// No answer can be given now: ask again, and mind the local deadline.
    Later {
        /// The job.
        job: JobId,
        /// Why.
        error: ApiError,
    },
}

impl From<RenewalAnswer> for RenewalReply {
    fn from(answer: RenewalAnswer) -> Self {
        match answer {
            RenewalAnswer::Keep { job, fence, lease } => Self::Keep { job, fence, lease },
            RenewalAnswer::Stop { job, fence, why } => Self::Stop {
                job,
                fence,
                error: stale(job, fence, why),
            },
            RenewalAnswer::Later { job } => Self::Later {
                job,
                error: ApiError::new(
                    ErrorCode::Unavailable,
                    "the shard's leader may not answer renewals now: ask again",
                ),
            },
        }
    }
}

impl From<RenewalReply> for v1::RenewalAnswer {
    fn from(reply: RenewalReply) -> Self {
        use v1::renewal_answer::Answer;
        let (job, fence, answer) = match reply {
            RenewalReply::Keep { job, fence, lease } => {
                (job, fence.to_string(), Answer::KeepMs(ms(lease)))
            }
            RenewalReply::Stop { job, fence, error } => {
                (job, fence.to_string(), Answer::Stop(error.into()))
            }
            RenewalReply::Later { job, error } => (job, String::new(), Answer::Later(error.into())),
        };
        Self {
            job_id: job.to_string(),
            fence,
            answer: Some(answer),
        }
    }
}

impl TryFrom<v1::RenewalAnswer> for RenewalReply {
    type Error = ConvertError;

    fn try_from(wire: v1::RenewalAnswer) -> Result<Self, ConvertError> {
        use v1::renewal_answer::Answer;
        let job = job_id(&wire.job_id)?;
        match wire.answer {
            None => Err(ConvertError::Missing { field: "answer" }),
            Some(Answer::KeepMs(keep_ms)) => Ok(Self::Keep {
                job,
                fence: fence(&wire.fence)?,
                lease: bounded("keep_ms", keep_ms, limits::LEASE_MAX)?,
            }),
            Some(Answer::Stop(error)) => Ok(Self::Stop {
                job,
                fence: fence(&wire.fence)?,
                error: error.into(),
            }),
            Some(Answer::Later(error)) => Ok(Self::Later {
                job,
                error: error.into(),
            }),
        }
    }
}

/// The error of a lease that is over.
#[must_use]
pub fn stale(job: JobId, fence: FenceToken, why: Stale) -> ApiError {
    let given = fence;
    ApiError::from(&Refusal::StaleFence { job, given, why })
}

/// News for a worker, by way of its gateway: its lease is over.
#[must_use]
pub fn lease_stop(session: SessionId, job: JobId, fence: FenceToken, why: Stale) -> v1::LeaseStop {
    v1::LeaseStop {
        session: session.to_string(),
        job_id: job.to_string(),
        fence: fence.to_string(),
        why: Some(stale(job, fence, why).into()),
    }
}

/// The longest that a `Lease` may be held open for its first job: 30 s.
pub const LEASE_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a `Lease` may wait for its first job.
///
/// # Errors
/// When more than [`LEASE_WAIT_MAX`] is asked.
pub fn lease_wait(wait_ms: u64) -> Result<Duration, ConvertError> {
    bounded("wait_ms", wait_ms, LEASE_WAIT_MAX)
}

#[cfg(test)]
#[path = "workers_tests.rs"]
mod tests;
