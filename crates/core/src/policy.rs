//! What a queue's owner decides: leases, limits, retries and how long things are kept.

use std::time::Duration;

use leasehold_types::{TenantName, limits};
use serde::{Deserialize, Serialize};

/// Heartbeat and election settings of a group: the same on every replica, committed in metadata.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Timings {
    /// Between regions: heartbeat 500 ms, election 2 to 3 s.
    #[default]
    Wan,
    /// Within one site: heartbeat 100 ms, election 400 to 600 ms.
    Lan,
}

impl Timings {
    /// The shortest lease that these timings allow: it must outlive a leader's failover.
    #[must_use]
    pub const fn shortest_lease(self) -> Duration {
        match self {
            Self::Wan => limits::LEASE_MIN_WAN,
            Self::Lan => limits::LEASE_MIN_LAN,
        }
    }
}

/// Where the replicas of a queue's shard live.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// One voter in each of three or five regions: survives the loss of a region.
    #[default]
    Global,
    /// Nodes of the home region only: lower latency; when the region is lost its jobs wait for it.
    Regional,
}

/// How long to wait before a failed job runs again: full jitter under an exponential ceiling
/// (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffPolicy {
    /// Ceiling of the first wait; doubles with every failure.
    pub base: Duration,
    /// Ceiling that the doubling stops at.
    pub cap: Duration,
}

/// The policy of one queue. [`Default`] is what `default` starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePolicy {
    /// Whose queue it is. A job submitted without a tenant is this tenant's.
    pub tenant: TenantName,
    /// Where the replicas live.
    pub placement: Placement,
    /// Length of a lease, between renewals.
    pub lease: Duration,
    /// Longest time without progress; none for queues that declare themselves opaque.
    pub stall_limit: Option<Duration>,
    /// Longest that one attempt may run, however well it renews.
    pub attempt_limit: Duration,
    /// Longest from submit to the last result, unless the submit names its own.
    pub job_deadline: Duration,
    /// Whether a verdict that a worker's region is unreachable may end a lease early. Turn off for queues whose
    /// jobs must never run twice at the same time.
    pub requeue_on_verdict: bool,
    /// Attempts for transient failures, the first included.
    pub max_attempts: u32,
    /// Lost leases (worker silent or stalled) after which the job counts as poison.
    pub max_losses: u32,
    /// Waits between attempts.
    pub backoff: BackoffPolicy,
    /// How long a finished job and its result are kept.
    pub retain_done: Duration,
    /// How long a dead letter or a cancelled job is kept.
    pub retain_failed: Duration,
    /// How long an id or idempotency key is remembered after the job ended; at least `retain_done`.
    pub retain_keys: Duration,
}

/// The tenant of everything that names none.
pub const DEFAULT_TENANT: &str = "default";
/// The queue that every cluster starts with.
pub const DEFAULT_QUEUE: &str = "default";

impl Default for QueuePolicy {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            tenant: TenantName::new(DEFAULT_TENANT).expect("a valid name"),
            placement: Placement::default(),
            lease: Duration::from_secs(30),
            stall_limit: Some(Duration::from_secs(90)),
            attempt_limit: Duration::from_secs(15 * 60),
            job_deadline: 24 * HOUR,
            requeue_on_verdict: true,
            max_attempts: 5,
            max_losses: 3,
            backoff: BackoffPolicy {
                base: Duration::from_secs(1),
                cap: Duration::from_secs(60),
            },
            retain_done: HOUR,
            retain_failed: 14 * 24 * HOUR,
            retain_keys: 24 * HOUR,
        }
    }
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue policy: {field} is {given}, {rule}")]
pub struct PolicyError {
    /// The field as people write it.
    pub field: &'static str,
    /// What was given.
    pub given: String,
    /// What would have been taken.
    pub rule: String,
}

impl QueuePolicy {
    /// Checks every field against its bounds and against the timings of the groups that will carry it.
    ///
    /// # Errors
    /// The first field that breaks a bound, with the bound.
    pub fn validate(&self, timings: Timings) -> Result<(), PolicyError> {
        let shortest = timings.shortest_lease();
        within("lease", self.lease, shortest, limits::LEASE_MAX)?;
        if let Some(stall_limit) = self.stall_limit {
            within(
                "stall_limit",
                stall_limit,
                self.lease / 2,
                limits::DELAY_MAX,
            )?;
        }
        within(
            "attempt_limit",
            self.attempt_limit,
            SECOND,
            limits::DELAY_MAX,
        )?;
        within("job_deadline", self.job_deadline, SECOND, limits::DELAY_MAX)?;
        within("backoff.base", self.backoff.base, MILLI, self.backoff.cap)?;
        within("backoff.cap", self.backoff.cap, MILLI, limits::DELAY_MAX)?;
        within("retain_done", self.retain_done, SECOND, limits::DELAY_MAX)?;
        within(
            "retain_failed",
            self.retain_failed,
            SECOND,
            limits::DELAY_MAX,
        )?;
        within(
            "retain_keys",
            self.retain_keys,
            self.retain_done,
            limits::DELAY_MAX,
        )?;
        counted("max_attempts", self.max_attempts)?;
        counted("max_losses", self.max_losses)
    }

    /// How often a worker renews under this policy.
    #[must_use]
    pub fn renewal_interval(&self) -> Duration {
        self.lease / limits::RENEWALS_PER_LEASE
    }
}

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn within(
    field: &'static str,
    given: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), PolicyError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(PolicyError {
        field,
        given: format!("{given:?}"),
        rule: format!("give {least:?} to {most:?}"),
    })
}

fn counted(field: &'static str, given: u32) -> Result<(), PolicyError> {
    if (1..=limits::ATTEMPTS_MAX).contains(&given) {
        return Ok(());
    }
    Err(PolicyError {
        field,
        given: given.to_string(),
        rule: format!("give 1 to {}", limits::ATTEMPTS_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_policy_is_valid_under_both_timings() {
        for timings in [Timings::Wan, Timings::Lan] {
            assert_eq!(QueuePolicy::default().validate(timings), Ok(()));
        }
    }

    #[test]
    fn lease_below_the_floor_of_its_timings_is_refused_with_the_bound() {
        let policy = QueuePolicy {
            lease: Duration::from_secs(5),
            ..QueuePolicy::default()
        };
        assert_eq!(policy.validate(Timings::Lan), Ok(()));
        let error = policy.validate(Timings::Wan).unwrap_err();
        assert!(error.to_string().contains("15s"), "{error}");
    }
}
