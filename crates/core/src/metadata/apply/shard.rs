//! `CreateShard` and `IntendMembers`: which shards there are, and who shall vote in them.

use leasehold_types::{RegionName, ShardId, VirtualShard};

use super::{Applied, full, unchanged};
use crate::metadata::SLICES_PER_SHARD;
use crate::metadata::command::{CreateShard, IntendMembers};
use crate::metadata::members;
use crate::metadata::outcome::{MetadataOutcome, MetadataRefusal};
use crate::metadata::records::ShardRecord;
use crate::metadata::state::MetadataState;
use crate::policy::Placement;

impl MetadataState {
    pub(super) fn create_shard(&mut self, index: u64, create: &CreateShard) -> Applied {
        self.founded()?;
        if let Some(shard) = self.shard_at_home(&create.home)? {
            return Ok(MetadataOutcome::ShardCreated(shard));
        }
        self.check_initial(create)?;
        let id = self.next_shard()?;
        self.insert_shard(ShardRecord {
            id,
            home: create.home.clone(),
            placement: Placement::Global,
            initial: create.initial,
            voters: [create.initial].into(),
            intent: index,
            first_virtual: VirtualShard::new(self.slices_used()),
            virtual_count: SLICES_PER_SHARD,
        });
        self.widen_queues(id);
        self.create_default_queue(index);
        Ok(MetadataOutcome::ShardCreated(id))
    }

    pub(super) fn intend_members(&mut self, index: u64, intend: &IntendMembers) -> Applied {
        self.founded()?;
        let unknown = MetadataRefusal::UnknownShard(intend.shard);
        let shard = self.shard(intend.shard).ok_or(unknown)?;
        // A repeat whose first answer was lost finds its wish fulfilled, and is no conflict.
        if shard.voters == intend.voters {
            return Ok(MetadataOutcome::Intended(shard.intent));
        }
        let what = format!("the intent of shard {}", shard.id);
        unchanged(what, shard.intent, intend.base)?;
        members::check(self, shard.placement, &shard.home, &intend.voters)?;
        if let Some(shard) = self.shards.get_mut(&intend.shard) {
            shard.voters.clone_from(&intend.voters);
            shard.intent = index;
        }
        Ok(MetadataOutcome::Intended(index))
    }

    fn shard_at_home(&self, home: &RegionName) -> Result<Option<ShardId>, MetadataRefusal> {
        let region = self.region(home);
        let unknown = || MetadataRefusal::UnknownRegion(home.clone());
        Ok(region.ok_or_else(unknown)?.shard)
    }

    fn check_initial(&self, create: &CreateShard) -> Result<(), MetadataRefusal> {
        let (id, home) = (create.initial, &create.home);
        let node = self.node(id).ok_or(MetadataRefusal::UnknownNode(id))?;
        if node.region != *home {
            return Err(MetadataRefusal::Invalid(format!(
                "node {id} is in region {}: name a node of {home} to begin the shard of {home}",
                node.region
            )));
        }
        Ok(())
    }

    fn next_shard(&self) -> Result<ShardId, MetadataRefusal> {
        if self.shards_left() == 0 {
            let limit = self.founded()?.virtual_shards;
            return Err(full("virtual shards given to shards", limit.into()));
        }
        let newest = self.shards.keys().next_back();
        Ok(ShardId::new(newest.map_or(0, |id| id.get()) + 1))
    }

    /// A new shard takes unkeyed jobs of every queue that is replicated as it is. Keys stay where they hash to.
    fn widen_queues(&mut self, shard: ShardId) {
        let queues = self.queues.values_mut();
        queues
            .filter(|queue| queue.policy.placement == Placement::Global)
            .for_each(|queue| queue.shards.push(shard));
    }
}
