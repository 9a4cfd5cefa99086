//! Queues, their counts and shards, as operators see them.

use leasehold_core::metadata::command::{CreateQueue, SetQueue};
use leasehold_core::metadata::records::{QueueRecord, RegionRecord, ShardRecord};
use leasehold_core::policy::QueuePolicy;
use leasehold_core::shard::view::{QueueStats, ShardStats};
use leasehold_types::{NodeId, QueueName};

use super::policy::{apply_change, placement_word};
use super::{ConvertError, parsed};
use crate::v1;

/// The queue that a request names.
///
/// # Errors
/// When the name is missing or malformed.
pub fn queue_name(text: &str) -> Result<QueueName, ConvertError> {
    parsed("name", text)
}

/// What the request leaves out takes the default policy's value.
impl TryFrom<&v1::CreateQueueRequest> for CreateQueue {
    type Error = ConvertError;

    fn try_from(wire: &v1::CreateQueueRequest) -> Result<Self, ConvertError> {
        let change = wire.policy.clone().unwrap_or_default();
        Ok(Self {
            name: queue_name(&wire.name)?,
            policy: apply_change(QueuePolicy::default(), &change)?,
        })
    }
}

/// A change of a queue's policy, over the policy that stands at `stands_at`.
///
/// A request without a base is still pinned to the index it was merged over, so that two changes of different
/// fields made at once cannot undo each other: one of them meets a conflict and is merged again.
///
/// # Errors
/// When the name, the tenant or the placement cannot be read.
pub fn set_queue(
    wire: &v1::SetQueueRequest,
    stands: QueuePolicy,
    stands_at: u64,
) -> Result<SetQueue, ConvertError> {
    let change = wire.policy.clone().unwrap_or_default();
    let base = if wire.base == 0 { stands_at } else { wire.base };
    Ok(SetQueue {
        name: queue_name(&wire.name)?,
        base: Some(base),
        policy: apply_change(stands, &change)?,
    })
}

/// A queue; without counts where no shard could be asked.
#[must_use]
pub fn queue(record: &QueueRecord, counts: Option<QueueStats>) -> v1::Queue {
    v1::Queue {
        name: record.name.as_str().to_owned(),
        policy: Some((&record.policy).into()),
        index: record.index,
        shards: record.shards.iter().map(|shard| shard.get()).collect(),
        counts: counts.map(Into::into),
    }
}

impl From<QueueStats> for v1::QueueCounts {
    fn from(stats: QueueStats) -> Self {
        Self {
            waiting: stats.waiting,
            ready: stats.ready,
            leased: stats.leased,
            done: stats.done,
            cancelled: stats.cancelled,
            dead: stats.dead,
        }
    }
}

impl From<v1::QueueCounts> for QueueStats {
    fn from(wire: v1::QueueCounts) -> Self {
        Self {
            waiting: wire.waiting,
            ready: wire.ready,
            leased: wire.leased,
            done: wire.done,
            cancelled: wire.cancelled,
            dead: wire.dead,
        }
    }
}

/// The counts of two shards, or of two queues, together.
#[must_use]
pub const fn sum(one: QueueStats, other: QueueStats) -> QueueStats {
    QueueStats {
        waiting: one.waiting + other.waiting,
        ready: one.ready + other.ready,
        leased: one.leased + other.leased,
        done: one.done + other.done,
        cancelled: one.cancelled + other.cancelled,
        dead: one.dead + other.dead,
    }
}

/// A shard as its metadata record has it; leader, counts and replica are for those who asked the leader.
#[must_use]
pub fn shard(record: &ShardRecord) -> v1::Shard {
    v1::Shard {
        shard_id: record.id.get(),
        home: record.home.as_str().to_owned(),
        placement: placement_word(record.placement).to_owned(),
        voters: record.voters.iter().map(|node| node.get()).collect(),
        first_virtual_shard: u32::from(record.first_virtual.get()),
        virtual_shards: u32::from(record.virtual_count),
        ..v1::Shard::default()
    }
}

/// The same shard with what its leader counts.
#[must_use]
pub fn with_stats(shard: v1::Shard, leader: NodeId, stats: &ShardStats) -> v1::Shard {
    let total = stats.queues.iter().map(|(_, counts)| *counts);
    let by_queue = |(name, counts): &(QueueName, QueueStats)| {
        (name.as_str().to_owned(), v1::QueueCounts::from(*counts))
    };
    v1::Shard {
        leader: leader.get(),
        epoch: stats.epoch.get(),
        counts: Some(total.fold(QueueStats::default(), sum).into()),
        queues: stats.queues.iter().map(by_queue).collect(),
        ..shard
    }
}

impl From<&RegionRecord> for v1::RegionStatus {
    fn from(record: &RegionRecord) -> Self {
        Self {
            name: record.name.as_str().to_owned(),
            nodes: record.nodes.iter().map(|node| node.get()).collect(),
            shard_id: record.shard.map_or(0, |shard| shard.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::{ShardEpoch, ShardId, Timestamp};
    use std::time::Duration;

    fn counts(waiting: u64, dead: u64) -> QueueStats {
        QueueStats {
            waiting,
            dead,
            ..QueueStats::default()
        }
    }

    #[test]
    fn queue_shows_its_policy_index_shards_and_counts() {
        let record = QueueRecord {
            name: "chat".parse().unwrap(),
            policy: QueuePolicy::default(),
            index: 12,
            shards: vec![ShardId::new(1), ShardId::new(2)],
            keyed: 2,
        };
        let wire = queue(&record, Some(counts(3, 4)));
        assert_eq!((wire.index, wire.shards), (12, vec![1, 2]));
        assert_eq!(wire.counts.map(QueueStats::from), Some(counts(3, 4)));
        assert_eq!(queue(&record, None).counts, None);
    }

    #[test]
    fn new_queue_takes_defaults_for_what_it_leaves_out() {
        let wire = v1::CreateQueueRequest {
            name: "chat".to_owned(),
            policy: Some(v1::QueuePolicyChange {
                max_attempts: Some(2),
                ..v1::QueuePolicyChange::default()
            }),
        };
        let created = CreateQueue::try_from(&wire).unwrap();
        assert_eq!(created.policy.max_attempts, 2);
        assert_eq!(created.policy.lease, Duration::from_secs(30));
    }

    #[test]
    fn change_without_a_base_is_pinned_to_what_it_was_merged_over() {
        let wire = v1::SetQueueRequest {
            name: "chat".to_owned(),
            ..v1::SetQueueRequest::default()
        };
        let set = set_queue(&wire, QueuePolicy::default(), 9).unwrap();
        assert_eq!(set.base, Some(9));
        let wire = v1::SetQueueRequest { base: 5, ..wire };
        let set = set_queue(&wire, QueuePolicy::default(), 9).unwrap();
        assert_eq!(set.base, Some(5));
    }

    #[test]
    fn counts_of_a_shard_are_the_sum_of_its_queues() {
        let stats = ShardStats {
            epoch: ShardEpoch::new(3),
            stamp: Timestamp::ZERO,
            queues: vec![
                ("a".parse().unwrap(), counts(1, 2)),
                ("b".parse().unwrap(), counts(10, 20)),
            ],
            keys: 0,
        };
        let shard = with_stats(v1::Shard::default(), NodeId::new(4), &stats);
        assert_eq!(shard.counts.map(QueueStats::from), Some(counts(11, 22)));
        assert_eq!((shard.leader, shard.epoch, shard.queues.len()), (4, 3, 2));
    }
}
