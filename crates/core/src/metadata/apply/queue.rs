//! `CreateQueue` and `SetQueue`: what users name, and under which policy. Also the queue that every cluster has.

use leasehold_types::{QueueName, limits};

use super::{Applied, full, unchanged};
use crate::metadata::command::{CreateQueue, SetQueue};
use crate::metadata::outcome::{MetadataOutcome, MetadataRefusal};
use crate::metadata::records::QueueRecord;
use crate::metadata::state::MetadataState;
use crate::policy::{DEFAULT_QUEUE, QueuePolicy, Timings};

impl MetadataState {
    pub(super) fn create_queue(&mut self, index: u64, create: &CreateQueue) -> Applied {
        let timings = self.founded()?.timings;
        if let Some(queue) = self.queue(&create.name) {
            return match queue.policy == create.policy {
                true => Ok(MetadataOutcome::QueueCreated(queue.index)),
                false => Err(MetadataRefusal::QueueExists(create.name.clone())),
            };
        }
        create.policy.validate(timings)?;
        if self.queues().len() >= limits::QUEUES {
            return Err(full("queues", limits::QUEUES));
        }
        if self.shards().len() == 0 {
            return Err(MetadataRefusal::Invalid(format!(
                "queue {} has nowhere to live yet: no region has its shard, try again in a moment",
                create.name
            )));
        }
        self.insert_queue(index, create.name.clone(), create.policy.clone());
        Ok(MetadataOutcome::QueueCreated(index))
    }

    pub(super) fn set_queue(&mut self, index: u64, set: &SetQueue) -> Applied {
        let timings = self.founded()?.timings;
        let unknown = || MetadataRefusal::UnknownQueue(set.name.clone());
        let queue = self.queues.get_mut(&set.name).ok_or_else(unknown)?;
        // A repeat whose first answer was lost finds its wish fulfilled, and is no conflict.
        if queue.policy == set.policy {
            return Ok(MetadataOutcome::QueueSet(queue.index));
        }
        if let Some(base) = set.base {
            unchanged(format!("queue {}", set.name), queue.index, base)?;
        }
        check_fixed(queue, &set.policy)?;
        set.policy.validate(timings)?;
        queue.policy.clone_from(&set.policy);
        queue.index = index;
        Ok(MetadataOutcome::QueueSet(index))
    }

    /// Made once every region that the cluster was founded with has its shard: not earlier, since the shards that
    /// its keys hash over are recorded here for good.
    pub(super) fn create_default_queue(&mut self, index: u64) {
        let name = QueueName::new(DEFAULT_QUEUE).expect("a valid name");
        let Some(founding) = self.founding() else {
            return;
        };
        let (wanted, timings) = (usize::from(founding.regions), founding.timings);
        if self.shards().len() >= wanted && self.queue(&name).is_none() {
            self.insert_queue(index, name, default_policy(timings));
        }
    }

    fn insert_queue(&mut self, index: u64, name: QueueName, policy: QueuePolicy) {
        let shards: Vec<_> = self.shards().map(|shard| shard.id).collect();
        let keyed = u16::try_from(shards.len()).expect("eight of 65535 slices go to each shard");
        let queue = QueueRecord {
            name: name.clone(),
            policy,
            index,
            shards,
            keyed,
        };
        self.queues.insert(name, queue);
    }
}

fn default_policy(timings: Timings) -> QueuePolicy {
    let policy = QueuePolicy::default();
    let lease = policy.lease.max(timings.shortest_lease());
    QueuePolicy { lease, ..policy }
}

/// Jobs already carry their tenant, and lie where the placement put them: neither can follow a change.
fn check_fixed(queue: &QueueRecord, policy: &QueuePolicy) -> Result<(), MetadataRefusal> {
    let fixed = |what: &str| {
        MetadataRefusal::Invalid(format!(
            "the {what} of queue {} cannot change, its jobs have it already: create another queue",
            queue.name
        ))
    };
    if policy.tenant != queue.policy.tenant {
        return Err(fixed("tenant"));
    }
    if policy.placement != queue.policy.placement {
        return Err(fixed("placement"));
    }
    Ok(())
}
