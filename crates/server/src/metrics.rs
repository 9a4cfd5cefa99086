//! What this node counts: every metric's name, unit and label values stand here and nowhere else.
//!
//! Callers count through methods with typed arguments, so that a label can only take a value that is listed. Ids of
//! jobs, sessions and workers are never labels: their number is not bounded. What belongs to a shard or a group is
//! [sampled](sampled) as a whole by the task that owns it and forgotten as a whole when that task ends; so a node that
//! no longer leads a shard exports no stale counts of it.

mod sampled;
mod words;

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::shard::command::{ExpireReason, FailureClass};
use leasehold_types::{ErrorCode, GroupId, ShardId};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use sampled::{DiskSample, GroupSample, LogSample, ShardSample};
pub use words::{AttemptOutcome, HttpStatus, JobEnd, SubmitOutcome, WriteKind};

use sampled::Samples;

/// One label with one value out of a fixed set.
type Label = [(&'static str, &'static str); 1];
type Counters = Family<Label, Counter>;

/// Counts and gauges of one node. Cheap to clone; all clones count into the same place.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    samples: Samples,
    submits: Counters,
    refusals: Counters,
    results: Counter,
    stale_writes: Counters,
    grants: Counter,
    grants_returned: Counter,
    expiries: Counters,
    attempts: Counters,
    jobs_ended: Counters,
    dead_letters: Counters,
    entry_commands: Histogram,
    entry_bytes: Histogram,
    entry_seconds: Histogram,
    peers_up: Gauge,
    peers_known: Gauge,
    sessions: Gauge,
    worker_messages: Counter,
    offers: Counter,
    http: Counters,
    ready: Gauge,
    metadata_index: Gauge,
}

impl Metrics {
    /// All counts at zero; `version` and `region` tell builds and regions apart in `leasehold_node_info`.
    #[must_use]
    pub fn new(version: &str, region: &str) -> Self {
        let mut registry = Registry::with_prefix("leasehold");
        let info = [
            ("version".to_owned(), version.to_owned()),
            ("region".to_owned(), region.to_owned()),
        ];
        registry.register("node", "What runs here", Info::new(info.to_vec()));
        let samples = Samples::default();
        registry.register_collector(Box::new(samples.clone()));
        let mut metrics = Self::unregistered(samples);
        metrics.register_jobs(&mut registry);
        metrics.register_log(&mut registry);
        metrics.register_node(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn unregistered(samples: Samples) -> Self {
        Self {
            registry: Arc::default(),
            samples,
            submits: Family::default(),
            refusals: Family::default(),
            results: Counter::default(),
            stale_writes: Family::default(),
            grants: Counter::default(),
            grants_returned: Counter::default(),
            expiries: Family::default(),
            attempts: Family::default(),
            jobs_ended: Family::default(),
            dead_letters: Family::default(),
            entry_commands: Histogram::new(exponential_buckets(1.0, 4.0, 6)),
            entry_bytes: Histogram::new(exponential_buckets(256.0, 4.0, 8)),
            entry_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            peers_up: Gauge::default(),
            peers_known: Gauge::default(),
            sessions: Gauge::default(),
            worker_messages: Counter::default(),
            offers: Counter::default(),
            http: Family::default(),
            ready: Gauge::default(),
            metadata_index: Gauge::default(),
        }
    }

    fn register_jobs(&self, registry: &mut Registry) {
        registry.register(
            "submits",
            "Submitted jobs answered by this node's shard leaders, by outcome",
            self.submits.clone(),
        );
        registry.register(
            "refusals",
            "Requests or items of them refused by this node's gateway, by error code",
            self.refusals.clone(),
        );
        registry.register(
            "results_accepted",
            "Results accepted, each the only one of its job",
            self.results.clone(),
        );
        registry.register(
            "stale_writes_refused",
            "Writes refused because their fence token is old, by kind of write",
            self.stale_writes.clone(),
        );
        registry.register(
            "grants",
            "Leases granted by this node's shard leaders",
            self.grants.clone(),
        );
        registry.register(
            "grants_returned",
            "Grants handed back by this gateway because no free slot was left for them",
            self.grants_returned.clone(),
        );
        registry.register(
            "leases_expired",
            "Leases and jobs that ran out, by reason",
            self.expiries.clone(),
        );
        registry.register(
            "attempts_ended",
            "Attempts that ended, by how",
            self.attempts.clone(),
        );
        registry.register(
            "jobs_ended",
            "Jobs that reached a terminal state, by state",
            self.jobs_ended.clone(),
        );
        registry.register(
            "dead_letters",
            "Jobs that became dead letters, by failure class",
            self.dead_letters.clone(),
        );
    }

    fn register_log(&self, registry: &mut Registry) {
        registry.register(
            "entry_commands",
            "Commands gathered in one log entry",
            self.entry_commands.clone(),
        );
        registry.register_with_unit(
            "entry_size",
            "Size of one log entry",
            Unit::Bytes,
            self.entry_bytes.clone(),
        );
        registry.register_with_unit(
            "entry_commit",
            "Time from proposing a log entry to having applied it",
            Unit::Seconds,
            self.entry_seconds.clone(),
        );
    }

    fn register_node(&self, registry: &mut Registry) {
        registry.register(
            "peers_up",
            "Other nodes with a live connection from here",
            self.peers_up.clone(),
        );
        registry.register(
            "peers_known",
            "Other nodes of the cluster",
            self.peers_known.clone(),
        );
        registry.register(
            "worker_sessions",
            "Worker sessions at this gateway",
            self.sessions.clone(),
        );
        registry.register(
            "worker_messages",
            "Messages received from workers",
            self.worker_messages.clone(),
        );
        registry.register(
            "slot_offers",
            "Offers of free slots sent to shard leaders",
            self.offers.clone(),
        );
        registry.register(
            "http_responses",
            "HTTP answers, by status",
            self.http.clone(),
        );
        registry.register(
            "ready",
            "1 while this node takes work, else 0",
            self.ready.clone(),
        );
        registry.register(
            "metadata_applied_index",
            "Newest metadata entry applied here",
            self.metadata_index.clone(),
        );
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    /// Counts submitted jobs by what became of them. For the shard's leader.
    pub fn submitted(&self, outcome: SubmitOutcome, jobs: u64) {
        count(&self.submits, "outcome", outcome.as_str(), jobs);
    }

    /// Counts requests, or items of a batch, that this node refused.
    pub fn refused(&self, code: ErrorCode, items: u64) {
        count(&self.refusals, "code", code.as_str(), items);
    }

    /// Counts a result that became its job's one result. For the shard's leader.
    pub fn result_accepted(&self) {
        self.results.inc();
    }

    /// Counts a write under an old fence token. For the shard's leader.
    pub fn stale_write_refused(&self, kind: WriteKind) {
        count(&self.stale_writes, "write", kind.as_str(), 1);
    }

    /// Counts leases granted. For the shard's leader.
    pub fn granted(&self, leases: u64) {
        self.grants.inc_by(leases);
    }

    /// Counts a grant that this gateway handed back unrun.
    pub fn grant_returned(&self) {
        self.grants_returned.inc();
    }

    /// Counts a lease or a job that ran out. For the shard's leader.
    pub fn expired(&self, reason: ExpireReason) {
        count(&self.expiries, "reason", words::expiry(reason), 1);
    }

    /// Counts an attempt that ended. For the shard's leader.
    pub fn attempt_ended(&self, outcome: AttemptOutcome) {
        count(&self.attempts, "end", outcome.as_str(), 1);
    }

    /// Counts a job that reached a terminal state. For the shard's leader.
    pub fn job_ended(&self, end: JobEnd) {
        count(&self.jobs_ended, "state", end.as_str(), 1);
        if let JobEnd::Dead(class) = end {
            self.dead_letter(class);
        }
    }

    fn dead_letter(&self, class: FailureClass) {
        count(&self.dead_letters, "class", words::class(class), 1);
    }

    /// Counts one log entry: how many commands it gathered, its size, and how long it took to commit and apply.
    pub fn entry_applied(&self, commands: usize, bytes: usize, took: Duration) {
        self.entry_commands.observe(as_f64(commands));
        self.entry_bytes.observe(as_f64(bytes));
        self.entry_seconds.observe(took.as_secs_f64());
    }

    /// Says how many other nodes there are, and to how many of them a connection stands.
    pub fn peers(&self, up: usize, known: usize) {
        self.peers_up.set(as_gauge(up));
        self.peers_known.set(as_gauge(known));
    }

    /// Says how many worker sessions this gateway holds.
    pub fn worker_sessions(&self, sessions: usize) {
        self.sessions.set(as_gauge(sessions));
    }

    /// Counts a message received from a worker.
    pub fn worker_message(&self) {
        self.worker_messages.inc();
    }

    /// Counts an offer of free slots sent to a shard's leader.
    pub fn slots_offered(&self) {
        self.offers.inc();
    }

    /// Counts an HTTP answer.
    pub fn http_answered(&self, status: HttpStatus) {
        count(&self.http, "status", status.as_str(), 1);
    }

    /// Says whether this node takes work.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Says which metadata entry was applied last.
    pub fn metadata_applied(&self, index: u64) {
        self.metadata_index
            .set(i64::try_from(index).unwrap_or(i64::MAX));
    }

    /// Replaces what is exported about one shard. For its leader, about once a second.
    pub fn sample_shard(&self, shard: ShardId, sample: ShardSample) {
        self.samples.put_shard(shard, sample);
    }

    /// Exports nothing more about the shard: this node does not lead it.
    pub fn forget_shard(&self, shard: ShardId) {
        self.samples.remove_shard(shard);
    }

    /// Replaces what is exported about this node's replica of a group.
    pub fn sample_group(&self, group: GroupId, sample: GroupSample) {
        self.samples.put_group(group, sample);
    }

    /// Exports nothing more about the group: its replica here is closed.
    pub fn forget_group(&self, group: GroupId) {
        self.samples.remove_group(group);
    }

    /// Replaces what is exported about the node's log.
    pub fn sample_log(&self, sample: LogSample) {
        self.samples.put_log(sample);
    }

    /// Replaces what is exported about the volume of the data folder.
    pub fn sample_disk(&self, sample: DiskSample) {
        self.samples.put_disk(sample);
    }
}

fn count(counters: &Counters, label: &'static str, value: &'static str, by: u64) {
    counters.get_or_create(&[(label, value)]).inc_by(by);
}

#[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^52")]
const fn as_f64(number: usize) -> f64 {
    number as f64
}

fn as_gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_prefix_and_every_count_its_label() {
        let metrics = Metrics::new("0.1.0", "eu");
        metrics.submitted(SubmitOutcome::Accepted, 3);
        metrics.refused(ErrorCode::NotFound, 1);
        metrics.job_ended(JobEnd::Dead(FailureClass::Poison));
        let text = metrics.encode();
        for line in [
            "leasehold_submits_total{outcome=\"accepted\"} 3",
            "leasehold_refusals_total{code=\"not_found\"} 1",
            "leasehold_jobs_ended_total{state=\"dead\"} 1",
            "leasehold_dead_letters_total{class=\"poison\"} 1",
            "leasehold_node_info{version=\"0.1.0\",region=\"eu\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let foreign = |line: &&str| !line.starts_with('#') && !line.starts_with("leasehold_");
        assert_eq!(text.lines().find(foreign), None);
    }

    #[test]
    fn clones_count_into_the_same_place() {
        let metrics = Metrics::new("0.1.0", "eu");
        metrics.clone().granted(2);
        metrics.granted(1);
        assert!(metrics.encode().contains("leasehold_grants_total 3"));
    }
}
