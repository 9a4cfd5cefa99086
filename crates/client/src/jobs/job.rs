//! A job to submit.

use std::time::Duration;

use bytes::Bytes;
use leasehold_api::{ConvertError, convert, v1};
use leasehold_types::{Digest, JobId, VirtualShard};
use sha2::{Digest as _, Sha256};

/// A job to submit: a queue, a payload, and what else is to be said about it. Bounds are checked when it is
/// submitted.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Job {
    id: Option<JobId>,
    queue: String,
    tenant: String,
    key: String,
    payload: Bytes,
    priority: Option<u8>,
    delay: Duration,
    deadline: Option<Duration>,
    asked: v1::Labels,
}

impl Job {
    /// A job for a queue; the worker gets the payload, at most 64 KiB.
    pub fn new(queue: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            id: None,
            queue: queue.into(),
            tenant: String::new(),
            key: String::new(),
            payload: payload.into(),
            priority: None,
            delay: Duration::ZERO,
            deadline: None,
            asked: v1::Labels::default(),
        }
    }

    /// Your own idempotency key: a second submit with this key finds the first job, over processes and restarts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The id to submit under, for repeating a submit whose outcome stayed unknown. Minted for you unless set.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// Whose job it is: the queue's owner's unless set.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// 0 to 9, higher first among the jobs of one tenant: 4 unless set.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Not before this long after the submit.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Longest from the submit to the result: the queue's own unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// A label that the worker must carry with exactly this value, such as `model` = `llama-70b`.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.asked.labels.insert(name.into(), value.into());
        self
    }

    /// A capacity of which the worker must have at least so much, such as `vram_gib`, 80.
    pub fn capacity(mut self, name: impl Into<String>, least: u64) -> Self {
        self.asked.capacity.insert(name.into(), least);
        self
    }

    /// The message without an id where none was given, checked against every bound that can be checked here.
    pub(super) fn message(self) -> Result<v1::NewJob, ConvertError> {
        let digest = digest(&self.payload);
        let wire = v1::NewJob {
            job_id: self.id.map(|id| id.to_string()).unwrap_or_default(),
            queue: self.queue,
            tenant: self.tenant,
            idempotency_key: self.key,
            payload: self.payload,
            digest: digest.as_bytes().to_vec().into(),
            priority: self.priority.map(u32::from),
            delay_ms: ms(self.delay),
            deadline_ms: self
                .deadline
                .map(|span| ms(span).max(1))
                .unwrap_or_default(),
            requirement: Some(self.asked),
        };
        check(&wire, digest)?;
        Ok(wire)
    }
}

/// The check of a gateway, with a stand-in for an id that is not minted yet.
fn check(wire: &v1::NewJob, digest: Digest) -> Result<(), ConvertError> {
    let mut probe = wire.clone();
    if probe.job_id.is_empty() {
        probe.job_id = JobId::new(VirtualShard::new(0), [0; 12]).to_string();
    }
    convert::submit::submit(probe, Some(digest)).map(drop)
}

/// Whole milliseconds; a span too long for them is over every bound anyway.
fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::new(Sha256::digest(content).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::limits;

    #[test]
    fn everything_that_is_set_is_in_the_message() {
        let id = JobId::new(VirtualShard::new(3), [1; 12]);
        let job = Job::new("chat", "hi")
            .id(id)
            .key("order-1")
            .tenant("acme")
            .priority(9)
            .delay(Duration::from_secs(2))
            .deadline(Duration::from_micros(5))
            .label("model", "llama")
            .capacity("vram_gib", 80);
        let wire = job.message().unwrap();
        assert_eq!(
            (wire.job_id, wire.queue),
            (id.to_string(), "chat".to_owned())
        );
        assert_eq!((wire.delay_ms, wire.deadline_ms), (2_000, 1));
        assert_eq!((wire.priority, wire.tenant.as_str()), (Some(9), "acme"));
        let asked = wire.requirement.unwrap();
        assert_eq!((asked.labels.len(), asked.capacity.len()), (1, 1));
        assert_eq!(wire.digest, digest(b"hi").as_bytes().to_vec());
    }

    #[test]
    fn job_over_a_bound_is_refused_before_it_is_sent() {
        let refused = |job: Job| job.message().unwrap_err().to_string();
        let payload = vec![0; limits::INLINE_BYTES + 1];
        assert!(refused(Job::new("chat", payload)).starts_with("payload is 65537"));
        assert!(refused(Job::new("", "x")).starts_with("queue is missing"));
        assert!(refused(Job::new("chat", "x").priority(10)).starts_with("priority is 10"));
        assert!(refused(Job::new("chat", "x").delay(Duration::MAX)).starts_with("delay_ms"));
    }
}
