//! Gauges that belong to a shard, a group or the log, kept as whole samples and encoded when asked for.
//!
//! A sample replaces the one before it and goes away as a whole. Label sets never linger, and the text comes out in
//! the order of ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_consensus::CheckpointCounts;
use leasehold_core::shard::view::{QueueStats, ShardStats};
use leasehold_types::{GroupId, RegionName, ShardId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What a shard's leader exports about it.
#[derive(Debug, Clone, Default)]
pub struct ShardSample {
    /// Its counts, epoch included.
    pub stats: ShardStats,
    /// Leases by the region of the worker that holds them.
    pub leases_by_region: BTreeMap<RegionName, u64>,
    /// Worker sessions that lend it slots.
    pub sessions: usize,
    /// Slots lent to it and free.
    pub free_slots: u64,
    /// Commands waiting to be proposed.
    pub waiting_commands: usize,
}

/// What a replica exports about its group.
#[derive(Debug, Clone, Default)]
pub struct GroupSample {
    /// Raft's term.
    pub term: u64,
    /// Whether this replica leads.
    pub leads: bool,
    /// Whether a leader is known.
    pub has_leader: bool,
    /// Number of voters.
    pub voters: usize,
    /// Index of the newest log entry here.
    pub last_log: u64,
    /// Index of the newest entry applied here.
    pub applied: u64,
    /// Time since a quorum was last heard; leader only.
    pub since_quorum: Option<Duration>,
    /// Its checkpoints, and those that the leader sent. Read whenever they are asked for, not once a second.
    pub checkpoints: Arc<CheckpointCounts>,
}

/// What the node exports about its log. Counts are totals since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSample {
    /// Syncs of the disk.
    pub syncs: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes that the log takes on disk.
    pub disk_bytes: u64,
    /// Of those, bytes held in reserve: filled ahead and not written yet.
    pub spare_bytes: u64,
    /// Operations handed in and not synced yet.
    pub unsynced: u64,
    /// How long the oldest unsynced operation has waited.
    pub stalled_for: Duration,
}

/// What the node exports about the volume of its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskSample {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes of the volume.
    pub size_bytes: u64,
    /// Free bytes below which new jobs are refused.
    pub low_bytes: u64,
    /// Whether they are refused now.
    pub is_short: bool,
}

#[derive(Debug, Default)]
struct Kept {
    shards: BTreeMap<ShardId, ShardSample>,
    groups: BTreeMap<GroupId, GroupSample>,
    log: Option<LogSample>,
    disk: Option<DiskSample>,
}

/// The newest samples. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Arc<Mutex<Kept>>);

impl Samples {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put_shard(&self, shard: ShardId, sample: ShardSample) {
        self.kept().shards.insert(shard, sample);
    }

    pub(super) fn remove_shard(&self, shard: ShardId) {
        self.kept().shards.remove(&shard);
    }

    pub(super) fn put_group(&self, group: GroupId, sample: GroupSample) {
        self.kept().groups.insert(group, sample);
    }

    pub(super) fn remove_group(&self, group: GroupId) {
        self.kept().groups.remove(&group);
    }

    pub(super) fn put_log(&self, sample: LogSample) {
        self.kept().log = Some(sample);
    }

    pub(super) fn put_disk(&self, sample: DiskSample) {
        self.kept().disk = Some(sample);
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let kept = self.kept();
        encode_shards(&mut encoder, &kept.shards)?;
        encode_queues(&mut encoder, &kept.shards)?;
        encode_leases(&mut encoder, &kept.shards)?;
        encode_groups(&mut encoder, &kept.groups)?;
        kept.log
            .iter()
            .try_for_each(|log| encode_log(&mut encoder, log))?;
        kept.disk
            .iter()
            .try_for_each(|disk| encode_disk(&mut encoder, disk))
    }
}

/// A gauge of one shard: its name, its help and where it stands in the sample.
type ShardGauge = (&'static str, &'static str, fn(&ShardSample) -> u64);

const SHARD_GAUGES: [ShardGauge; 5] = [
    (
        "shard_epoch",
        "Leadership of the shard, on its leader",
        |s| s.stats.epoch.get(),
    ),
    ("shard_keys", "Ids and idempotency keys remembered", |s| {
        as_u64(s.stats.keys)
    }),
    ("shard_sessions", "Worker sessions that lend slots", |s| {
        as_u64(s.sessions)
    }),
    ("shard_free_slots", "Slots lent and free", |s| s.free_slots),
    ("shard_waiting_commands", "Commands not yet proposed", |s| {
        as_u64(s.waiting_commands)
    }),
];

fn encode_shards(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &BTreeMap<ShardId, ShardSample>,
) -> fmt::Result {
    for (name, help, value) in SHARD_GAUGES {
        let rows = shards
            .iter()
            .map(|(shard, sample)| ([("shard", shard.to_string())], value(sample)));
        encode_gauge(encoder, name, help, None, rows)?;
    }
    Ok(())
}

type StateCount = (&'static str, fn(&QueueStats) -> u64);

const STATE_COUNTS: [StateCount; 6] = [
    ("waiting", |q| q.waiting),
    ("ready", |q| q.ready),
    ("leased", |q| q.leased),
    ("done", |q| q.done),
    ("cancelled", |q| q.cancelled),
    ("dead", |q| q.dead),
];

fn encode_queues(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &BTreeMap<ShardId, ShardSample>,
) -> fmt::Result {
    let queues = shards.iter().flat_map(|(shard, sample)| {
        let of_shard = move |(queue, stats)| (shard, queue, stats);
        sample
            .stats
            .queues
            .iter()
            .map(|(q, s)| (q, s))
            .map(of_shard)
    });
    let rows = queues.flat_map(|(shard, queue, stats)| {
        STATE_COUNTS.iter().map(move |(state, count)| {
            let labels = [
                ("shard", shard.to_string()),
                ("queue", queue.to_string()),
                ("state", (*state).to_owned()),
            ];
            (labels, count(stats))
        })
    });
    encode_gauge(encoder, "jobs", "Jobs by queue and state", None, rows)
}

fn encode_leases(
    encoder: &mut DescriptorEncoder<'_>,
    shards: &BTreeMap<ShardId, ShardSample>,
) -> fmt::Result {
    let rows = shards.iter().flat_map(|(shard, sample)| {
        sample.leases_by_region.iter().map(move |(region, leases)| {
            let labels = [
                ("shard", shard.to_string()),
                ("worker_region", region.to_string()),
            ];
            (labels, *leases)
        })
    });
    let help = "Leases by the region of the worker that holds them";
    encode_gauge(encoder, "leases", help, None, rows)
}

type GroupGauge = (&'static str, &'static str, fn(&GroupSample) -> u64);

const GROUP_GAUGES: [GroupGauge; 8] = [
    ("raft_term", "Raft's term of the group", |g| g.term),
    ("raft_leads", "1 where this replica leads, else 0", |g| {
        u64::from(g.leads)
    }),
    (
        "raft_has_leader",
        "1 where a leader is known, else 0",
        |g| u64::from(g.has_leader),
    ),
    ("raft_voters", "Voters of the group", |g| as_u64(g.voters)),
    ("raft_last_log_index", "Newest log entry here", |g| {
        g.last_log
    }),
    ("raft_applied_index", "Newest entry applied here", |g| {
        g.applied
    }),
    (
        "checkpoints_begun",
        "Checkpoints begun since the replica was opened",
        |g| g.checkpoints.begun(),
    ),
    (
        "snapshots_installed",
        "Checkpoints of the leader's taken over since the replica was opened",
        |g| g.checkpoints.installed(),
    ),
];

type GroupTime = (&'static str, &'static str, fn(&GroupSample) -> Duration);

const GROUP_TIMES: [GroupTime; 2] = [
    (
        "checkpoint_writing",
        "Time spent writing checkpoints, one under way included",
        |g| g.checkpoints.writing(),
    ),
    (
        "snapshot_receiving",
        "Time spent receiving checkpoints of the leader's, one under way included",
        |g| g.checkpoints.receiving(),
    ),
];

fn encode_groups(
    encoder: &mut DescriptorEncoder<'_>,
    groups: &BTreeMap<GroupId, GroupSample>,
) -> fmt::Result {
    for (name, help, value) in GROUP_GAUGES {
        let rows = groups
            .iter()
            .map(|(group, sample)| (by_group(*group), value(sample)));
        encode_gauge(encoder, name, help, None, rows)?;
    }
    encode_checkpoints(encoder, groups)?;
    let quorum = groups.iter().filter_map(|(group, sample)| {
        let age = sample.since_quorum?;
        Some((by_group(*group), age.as_secs_f64()))
    });
    let help = "Time since a quorum was last heard, on the leader";
    let unit = Some(&Unit::Seconds);
    encode_gauge(encoder, "raft_quorum_age", help, unit, quorum)
}

fn encode_checkpoints(
    encoder: &mut DescriptorEncoder<'_>,
    groups: &BTreeMap<GroupId, GroupSample>,
) -> fmt::Result {
    for (name, help, value) in GROUP_TIMES {
        let rows = groups
            .iter()
            .map(|(group, sample)| (by_group(*group), value(sample).as_secs_f64()));
        encode_gauge(encoder, name, help, Some(&Unit::Seconds), rows)?;
    }
    let rows = groups
        .iter()
        .map(|(group, sample)| (by_group(*group), sample.checkpoints.received_bytes()));
    let help = "Rows received with checkpoints of the leader's";
    encode_gauge(encoder, "snapshot_received", help, Some(&Unit::Bytes), rows)
}

fn by_group(group: GroupId) -> [(&'static str, String); 1] {
    [("group", group.to_string())]
}

type LogGauge = (&'static str, &'static str, fn(&LogSample) -> u64);

const LOG_COUNTS: [LogGauge; 2] = [
    ("log_syncs", "Syncs since the start", |l| l.syncs),
    (
        "log_unsynced_operations",
        "Operations not synced yet",
        |l| l.unsynced,
    ),
];

const LOG_SIZES: [LogGauge; 3] = [
    ("log_written", "Written since the start", |l| {
        l.written_bytes
    }),
    ("log_disk", "Size on disk", |l| l.disk_bytes),
    ("log_spare", "Held in reserve for a full disk", |l| {
        l.spare_bytes
    }),
];

type DiskGauge = (&'static str, &'static str, fn(&DiskSample) -> u64);

const DISK_SIZES: [DiskGauge; 3] = [
    ("disk_free", "Free on the data folder's volume", |d| {
        d.free_bytes
    }),
    ("disk_size", "Size of the data folder's volume", |d| {
        d.size_bytes
    }),
    (
        "disk_low_water",
        "Free space below which new jobs are refused",
        |d| d.low_bytes,
    ),
];

fn encode_disk(encoder: &mut DescriptorEncoder<'_>, disk: &DiskSample) -> fmt::Result {
    for (name, help, value) in DISK_SIZES {
        encode_one(encoder, name, help, Some(&Unit::Bytes), value(disk))?;
    }
    let help = "1 while new jobs are refused for want of space, else 0";
    encode_one(encoder, "disk_short", help, None, u64::from(disk.is_short))
}

fn encode_log(encoder: &mut DescriptorEncoder<'_>, log: &LogSample) -> fmt::Result {
    for (name, help, value) in LOG_COUNTS {
        encode_one(encoder, name, help, None, value(log))?;
    }
    for (name, help, value) in LOG_SIZES {
        encode_one(encoder, name, help, Some(&Unit::Bytes), value(log))?;
    }
    let stalled = log.stalled_for.as_secs_f64();
    let help = "Wait of the oldest operation not synced yet";
    encode_one(encoder, "log_stall", help, Some(&Unit::Seconds), stalled)
}

fn encode_one<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: N,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let gauge = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(value).encode(gauge)
}

fn encode_gauge<L: EncodeLabelSet, N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    rows: impl Iterator<Item = (L, N)>,
) -> fmt::Result
where
    ConstGauge<N>: EncodeMetric,
{
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in rows {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use leasehold_types::{QueueName, ShardEpoch};

    fn sample() -> ShardSample {
        let ready = QueueStats {
            ready: 7,
            ..QueueStats::default()
        };
        let stats = ShardStats {
            epoch: ShardEpoch::new(3),
            queues: vec![(QueueName::new("chat").unwrap(), ready)],
            ..ShardStats::default()
        };
        let region = RegionName::new("eu").unwrap();
        ShardSample {
            stats,
            leases_by_region: [(region, 2)].into(),
            ..ShardSample::default()
        }
    }

    #[test]
    fn shard_is_exported_while_it_is_led_and_not_after() {
        let metrics = Metrics::new("0.1.0", "eu");
        let shard = ShardId::new(1);
        metrics.sample_shard(shard, sample());
        let text = metrics.encode();
        for line in [
            "leasehold_shard_epoch{shard=\"s1\"} 3",
            "leasehold_jobs{shard=\"s1\",queue=\"chat\",state=\"ready\"} 7",
            "leasehold_leases{shard=\"s1\",worker_region=\"eu\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.forget_shard(shard);
        assert!(!metrics.encode().contains("shard=\"s1\""));
    }

    #[test]
    fn checkpoints_of_a_group_are_exported_from_the_first_sample_on() {
        let metrics = Metrics::new("0.1.0", "eu");
        metrics.sample_group(GroupId::new(1), GroupSample::default());
        let text = metrics.encode();
        for line in [
            "leasehold_checkpoints_begun{group=\"g1\"} 0",
            "leasehold_checkpoint_writing_seconds{group=\"g1\"} 0.0",
            "leasehold_snapshots_installed{group=\"g1\"} 0",
            "leasehold_snapshot_receiving_seconds{group=\"g1\"} 0.0",
            "leasehold_snapshot_received_bytes{group=\"g1\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn stall_of_the_log_is_exported_in_seconds() {
        let metrics = Metrics::new("0.1.0", "eu");
        metrics.sample_log(LogSample {
            stalled_for: Duration::from_millis(2500),
            ..LogSample::default()
        });
        let text = metrics.encode();
        assert!(text.contains("leasehold_log_stall_seconds 2.5"), "{text}");
    }
}
