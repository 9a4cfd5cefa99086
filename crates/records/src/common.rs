//! Queue policies and requirements, which commands, jobs and metadata share.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_core::policy::{BackoffPolicy, Placement, QueuePolicy, Timings};
use leasehold_core::requirement::Requirement;

use crate::error::DecodeError;
use crate::field::{In, span, span_if_any, text};
use crate::store::v1;

impl From<&QueuePolicy> for v1::QueuePolicy {
    fn from(policy: &QueuePolicy) -> Self {
        Self {
            tenant: text(&policy.tenant),
            placement: placement(policy.placement),
            lease: span(policy.lease),
            stall_limit: span_if_any(policy.stall_limit),
            attempt_limit: span(policy.attempt_limit),
            job_deadline: span(policy.job_deadline),
            requeue_on_verdict: policy.requeue_on_verdict,
            max_attempts: policy.max_attempts,
            max_losses: policy.max_losses,
            backoff_base: span(policy.backoff.base),
            backoff_cap: span(policy.backoff.cap),
            retain_done: span(policy.retain_done),
            retain_failed: span(policy.retain_failed),
            retain_keys: span(policy.retain_keys),
        }
    }
}

impl TryFrom<v1::QueuePolicy> for QueuePolicy {
    type Error = DecodeError;

    fn try_from(policy: v1::QueuePolicy) -> Result<Self, DecodeError> {
        let at = In("QueuePolicy");
        Ok(Self {
            tenant: at.name("tenant", &policy.tenant)?,
            placement: read_placement(at, policy.placement)?,
            lease: at.span("lease", policy.lease)?,
            stall_limit: at.span_if_any("stall_limit", policy.stall_limit)?,
            attempt_limit: at.span("attempt_limit", policy.attempt_limit)?,
            job_deadline: at.span("job_deadline", policy.job_deadline)?,
            requeue_on_verdict: policy.requeue_on_verdict,
            max_attempts: policy.max_attempts,
            max_losses: policy.max_losses,
            backoff: BackoffPolicy {
                base: at.span("backoff_base", policy.backoff_base)?,
                cap: at.span("backoff_cap", policy.backoff_cap)?,
            },
            retain_done: at.span("retain_done", policy.retain_done)?,
            retain_failed: at.span("retain_failed", policy.retain_failed)?,
            retain_keys: at.span("retain_keys", policy.retain_keys)?,
        })
    }
}

pub(crate) fn placement(placement: Placement) -> i32 {
    match placement {
        Placement::Global => v1::Placement::Global,
        Placement::Regional => v1::Placement::Regional,
    }
    .into()
}

pub(crate) fn read_placement(at: In, value: i32) -> Result<Placement, DecodeError> {
    match at.choice("placement", value)? {
        v1::Placement::Unspecified => at.unspecified("placement"),
        v1::Placement::Global => Ok(Placement::Global),
        v1::Placement::Regional => Ok(Placement::Regional),
    }
}

pub(crate) fn timings(timings: Timings) -> i32 {
    match timings {
        Timings::Wan => v1::Timings::Wan,
        Timings::Lan => v1::Timings::Lan,
    }
    .into()
}

pub(crate) fn read_timings(at: In, value: i32) -> Result<Timings, DecodeError> {
    match at.choice("timings", value)? {
        v1::Timings::Unspecified => at.unspecified("timings"),
        v1::Timings::Wan => Ok(Timings::Wan),
        v1::Timings::Lan => Ok(Timings::Lan),
    }
}

impl From<&Requirement> for v1::Requirement {
    fn from(requirement: &Requirement) -> Self {
        let label = |(name, value): (&Arc<str>, &Arc<str>)| v1::Label {
            name: name.as_ref().into(),
            value: value.as_ref().into(),
        };
        let capacity = |(name, least): (&Arc<str>, &u64)| v1::Capacity {
            name: name.as_ref().into(),
            least: *least,
        };
        Self {
            labels: requirement.labels.iter().map(label).collect(),
            capacity: requirement.capacity.iter().map(capacity).collect(),
        }
    }
}

impl TryFrom<v1::Requirement> for Requirement {
    type Error = DecodeError;

    fn try_from(requirement: v1::Requirement) -> Result<Self, DecodeError> {
        let labels = requirement.labels.into_iter();
        let capacity = requirement.capacity.into_iter();
        let pair = |label: v1::Label| (Arc::from(label.name), Arc::from(label.value));
        let least = |capacity: v1::Capacity| (Arc::from(capacity.name), capacity.least);
        Ok(Self {
            labels: unique("labels", labels.map(pair))?,
            capacity: unique("capacity", capacity.map(least))?,
        })
    }
}

/// A name given twice would read as one, and be written otherwise than it was read.
fn unique<V>(
    field: &'static str,
    pairs: impl ExactSizeIterator<Item = (Arc<str>, V)>,
) -> Result<BTreeMap<Arc<str>, V>, DecodeError> {
    let given = pairs.len();
    let map: BTreeMap<_, _> = pairs.collect();
    if map.len() < given {
        return Err(In("Requirement").invalid(field, &"a name is given twice"));
    }
    Ok(map)
}
