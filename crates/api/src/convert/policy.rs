//! Queue policies, and changes to them field by field.

use std::time::Duration;

use leasehold_core::policy::{BackoffPolicy, Placement, QueuePolicy, Timings};

use super::spans::{if_given, ms};
use super::{ConvertError, parsed};
use crate::v1;

/// The word for a placement.
#[must_use]
pub const fn placement_word(placement: Placement) -> &'static str {
    match placement {
        Placement::Global => "global",
        Placement::Regional => "regional",
    }
}

/// The placement of that word.
///
/// # Errors
/// When there is none.
pub fn placement(text: &str) -> Result<Placement, ConvertError> {
    match text {
        "global" => Ok(Placement::Global),
        "regional" => Ok(Placement::Regional),
        other => Err(ConvertError::choice(
            "placement",
            other,
            "global or regional",
        )),
    }
}

/// The word for timings.
#[must_use]
pub const fn timings_word(timings: Timings) -> &'static str {
    match timings {
        Timings::Wan => "wan",
        Timings::Lan => "lan",
    }
}

/// The timings of that word.
///
/// # Errors
/// When there are none.
pub fn timings(text: &str) -> Result<Timings, ConvertError> {
    match text {
        "wan" => Ok(Timings::Wan),
        "lan" => Ok(Timings::Lan),
        other => Err(ConvertError::choice("timings", other, "wan or lan")),
    }
}

impl From<&QueuePolicy> for v1::QueuePolicy {
    fn from(policy: &QueuePolicy) -> Self {
        Self {
            tenant: policy.tenant.as_str().to_owned(),
            placement: placement_word(policy.placement).to_owned(),
            lease_ms: ms(policy.lease),
            stall_limit_ms: policy.stall_limit.map(ms).unwrap_or_default(),
            attempt_limit_ms: ms(policy.attempt_limit),
            job_deadline_ms: ms(policy.job_deadline),
            requeue_on_verdict: policy.requeue_on_verdict,
            max_attempts: policy.max_attempts,
            max_losses: policy.max_losses,
            backoff_base_ms: ms(policy.backoff.base),
            backoff_cap_ms: ms(policy.backoff.cap),
            retain_done_ms: ms(policy.retain_done),
            retain_failed_ms: ms(policy.retain_failed),
            retain_keys_ms: ms(policy.retain_keys),
        }
    }
}

/// Form only: whether the lengths fit each other is for [`QueuePolicy::validate`].
impl TryFrom<&v1::QueuePolicy> for QueuePolicy {
    type Error = ConvertError;

    fn try_from(wire: &v1::QueuePolicy) -> Result<Self, ConvertError> {
        Ok(Self {
            tenant: parsed("tenant", &wire.tenant)?,
            placement: placement(&wire.placement)?,
            lease: Duration::from_millis(wire.lease_ms),
            stall_limit: if_given(wire.stall_limit_ms),
            attempt_limit: Duration::from_millis(wire.attempt_limit_ms),
            job_deadline: Duration::from_millis(wire.job_deadline_ms),
            requeue_on_verdict: wire.requeue_on_verdict,
            max_attempts: wire.max_attempts,
            max_losses: wire.max_losses,
            backoff: BackoffPolicy {
                base: Duration::from_millis(wire.backoff_base_ms),
                cap: Duration::from_millis(wire.backoff_cap_ms),
            },
            retain_done: Duration::from_millis(wire.retain_done_ms),
            retain_failed: Duration::from_millis(wire.retain_failed_ms),
            retain_keys: Duration::from_millis(wire.retain_keys_ms),
        })
    }
}

/// The policy that stands once the change is made: every field that the change leaves out keeps what `base` has.
///
/// # Errors
/// When the tenant or the placement cannot be read. Lengths are for [`QueuePolicy::validate`] to check.
pub fn apply_change(
    base: QueuePolicy,
    change: &v1::QueuePolicyChange,
) -> Result<QueuePolicy, ConvertError> {
    let or = |given: Option<u64>, stands: Duration| given.map_or(stands, Duration::from_millis);
    Ok(QueuePolicy {
        tenant: match &change.tenant {
            Some(tenant) => parsed("tenant", tenant)?,
            None => base.tenant,
        },
        placement: match &change.placement {
            Some(word) => placement(word)?,
            None => base.placement,
        },
        lease: or(change.lease_ms, base.lease),
        stall_limit: change.stall_limit_ms.map_or(base.stall_limit, if_given),
        attempt_limit: or(change.attempt_limit_ms, base.attempt_limit),
        job_deadline: or(change.job_deadline_ms, base.job_deadline),
        requeue_on_verdict: change.requeue_on_verdict.unwrap_or(base.requeue_on_verdict),
        max_attempts: change.max_attempts.unwrap_or(base.max_attempts),
        max_losses: change.max_losses.unwrap_or(base.max_losses),
        backoff: BackoffPolicy {
            base: or(change.backoff_base_ms, base.backoff.base),
            cap: or(change.backoff_cap_ms, base.backoff.cap),
        },
        retain_done: or(change.retain_done_ms, base.retain_done),
        retain_failed: or(change.retain_failed_ms, base.retain_failed),
        retain_keys: or(change.retain_keys_ms, base.retain_keys),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_policy()(
            spans: [u32; 9], stall_ms in prop::option::of(1..u32::MAX), counts: [u32; 2],
            requeue_on_verdict: bool, regional: bool,
        ) -> QueuePolicy {
            let [lease, attempt, deadline, base, cap, done, failed, keys, _] =
                spans.map(|ms| Duration::from_millis(ms.into()));
            QueuePolicy {
                tenant: "acme".parse().unwrap(),
                placement: if regional { Placement::Regional } else { Placement::Global },
                lease,
                stall_limit: stall_ms.map(|ms| Duration::from_millis(ms.into())),
                attempt_limit: attempt,
                job_deadline: deadline,
                requeue_on_verdict,
                max_attempts: counts[0],
                max_losses: counts[1],
                backoff: BackoffPolicy { base, cap },
                retain_done: done,
                retain_failed: failed,
                retain_keys: keys,
            }
        }
    }

    /// A change that names every field.
    fn whole(policy: &QueuePolicy) -> v1::QueuePolicyChange {
        let wire = v1::QueuePolicy::from(policy);
        v1::QueuePolicyChange {
            tenant: Some(wire.tenant),
            placement: Some(wire.placement),
            lease_ms: Some(wire.lease_ms),
            stall_limit_ms: Some(wire.stall_limit_ms),
            attempt_limit_ms: Some(wire.attempt_limit_ms),
            job_deadline_ms: Some(wire.job_deadline_ms),
            requeue_on_verdict: Some(wire.requeue_on_verdict),
            max_attempts: Some(wire.max_attempts),
            max_losses: Some(wire.max_losses),
            backoff_base_ms: Some(wire.backoff_base_ms),
            backoff_cap_ms: Some(wire.backoff_cap_ms),
            retain_done_ms: Some(wire.retain_done_ms),
            retain_failed_ms: Some(wire.retain_failed_ms),
            retain_keys_ms: Some(wire.retain_keys_ms),
        }
    }

    proptest! {
        #[test]
        fn policy_survives_the_wire(policy in any_policy()) {
            let wire = v1::QueuePolicy::from(&policy);
            prop_assert_eq!(QueuePolicy::try_from(&wire).unwrap(), policy);
        }

        #[test]
        fn empty_change_keeps_everything_and_a_whole_one_replaces_everything(
            base in any_policy(), next in any_policy(),
        ) {
            let kept = apply_change(base.clone(), &v1::QueuePolicyChange::default()).unwrap();
            prop_assert_eq!(&kept, &base);
            prop_assert_eq!(apply_change(base, &whole(&next)).unwrap(), next);
        }
    }

    #[test]
    fn stall_limit_of_zero_turns_it_off() {
        let change = v1::QueuePolicyChange {
            stall_limit_ms: Some(0),
            ..v1::QueuePolicyChange::default()
        };
        let policy = apply_change(QueuePolicy::default(), &change).unwrap();
        assert_eq!(policy.stall_limit, None);
    }

    #[test]
    fn words_are_read_back_and_others_refused_with_the_right_ones() {
        for kind in [Placement::Global, Placement::Regional] {
            assert_eq!(placement(placement_word(kind)), Ok(kind));
        }
        for kind in [Timings::Wan, Timings::Lan] {
            assert_eq!(timings(timings_word(kind)), Ok(kind));
        }
        let error = placement("local").unwrap_err().to_string();
        assert_eq!(error, "placement is \"local\": give global or regional");
    }
}
