//! Queues: policy and counts.

use leasehold_api::v1;
use serde::Serialize;

use crate::output::{fields, span, table};

/// One queue, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct QueueOut {
    pub(crate) name: String,
    pub(crate) index: u64,
    pub(crate) shards: Vec<u32>,
    pub(crate) policy: PolicyOut,
    pub(crate) counts: CountsOut,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct PolicyOut {
    tenant: String,
    placement: String,
    lease_ms: u64,
    stall_limit_ms: u64,
    attempt_limit_ms: u64,
    job_deadline_ms: u64,
    requeue_on_verdict: bool,
    max_attempts: u32,
    max_losses: u32,
    backoff_base_ms: u64,
    backoff_cap_ms: u64,
    retain_done_ms: u64,
    retain_failed_ms: u64,
    retain_keys_ms: u64,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CountsOut {
    pub(crate) waiting: u64,
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    pub(crate) done: u64,
    pub(crate) cancelled: u64,
    pub(crate) dead: u64,
}

impl From<v1::QueueCounts> for CountsOut {
    fn from(counts: v1::QueueCounts) -> Self {
        Self {
            waiting: counts.waiting,
            ready: counts.ready,
            leased: counts.leased,
            done: counts.done,
            cancelled: counts.cancelled,
            dead: counts.dead,
        }
    }
}

impl CountsOut {
    /// The columns of a table.
    pub(crate) fn columns(self) -> Vec<String> {
        let counts = [
            self.waiting,
            self.ready,
            self.leased,
            self.done,
            self.cancelled,
            self.dead,
        ];
        counts.map(|count| count.to_string()).to_vec()
    }

    /// Their headers.
    pub(crate) const HEADERS: [&'static str; 6] =
        ["WAITING", "READY", "LEASED", "DONE", "CANCELLED", "DEAD"];
}

impl From<v1::QueuePolicy> for PolicyOut {
    fn from(policy: v1::QueuePolicy) -> Self {
        Self {
            tenant: policy.tenant,
            placement: policy.placement,
            lease_ms: policy.lease_ms,
            stall_limit_ms: policy.stall_limit_ms,
            attempt_limit_ms: policy.attempt_limit_ms,
            job_deadline_ms: policy.job_deadline_ms,
            requeue_on_verdict: policy.requeue_on_verdict,
            max_attempts: policy.max_attempts,
            max_losses: policy.max_losses,
            backoff_base_ms: policy.backoff_base_ms,
            backoff_cap_ms: policy.backoff_cap_ms,
            retain_done_ms: policy.retain_done_ms,
            retain_failed_ms: policy.retain_failed_ms,
            retain_keys_ms: policy.retain_keys_ms,
        }
    }
}

impl From<v1::Queue> for QueueOut {
    fn from(queue: v1::Queue) -> Self {
        Self {
            name: queue.name,
            index: queue.index,
            shards: queue.shards,
            policy: queue.policy.unwrap_or_default().into(),
            counts: queue.counts.unwrap_or_default().into(),
        }
    }
}

impl QueueOut {
    /// Everything about one queue, for people.
    pub(crate) fn describe(&self) -> String {
        let policy = &self.policy;
        let stall = match policy.stall_limit_ms {
            0 => "none".to_owned(),
            limit => span(limit),
        };
        let shards = self
            .shards
            .iter()
            .map(|shard| format!("s{shard}"))
            .collect::<Vec<_>>();
        let counts = CountsOut::HEADERS.iter().zip(self.counts.columns());
        let counts = counts.map(|(name, count)| format!("{count} {}", name.to_lowercase()));
        fields(&[
            ("queue", format!("{} (tenant {})", self.name, policy.tenant)),
            ("jobs", counts.collect::<Vec<_>>().join(", ")),
            ("placement", policy.placement.clone()),
            ("shards", shards.join(" ")),
            ("lease", span(policy.lease_ms)),
            ("stall limit", stall),
            ("attempt limit", span(policy.attempt_limit_ms)),
            ("job deadline", span(policy.job_deadline_ms)),
            ("attempts", policy.max_attempts.to_string()),
            ("lost leases", policy.max_losses.to_string()),
            (
                "backoff",
                format!(
                    "{} to {}",
                    span(policy.backoff_base_ms),
                    span(policy.backoff_cap_ms)
                ),
            ),
            ("requeue on verdict", policy.requeue_on_verdict.to_string()),
            ("keeps done", span(policy.retain_done_ms)),
            ("keeps dead letters", span(policy.retain_failed_ms)),
            ("remembers keys", span(policy.retain_keys_ms)),
            ("policy index", self.index.to_string()),
        ])
    }

    /// Many queues, one a line.
    pub(crate) fn rows(queues: &[Self]) -> String {
        let mut headers = vec!["QUEUE", "TENANT", "LEASE"];
        headers.extend(CountsOut::HEADERS);
        let rows = queues.iter().map(|queue| {
            let mut row = vec![
                queue.name.clone(),
                queue.policy.tenant.clone(),
                span(queue.policy.lease_ms),
            ];
            row.extend(queue.counts.columns());
            row
        });
        table(&headers, rows)
    }
}
