//! What a checkpoint writes of a shard: the changes since the last one, as of one entry of the log.
//!
//! [`ShardState::freeze`] costs next to nothing, [`ShardState::take_frozen`] and [`ShardState::evict`] as much as they
//! are asked to do at a time: entries are applied in between. A job that came and went between two checkpoints is never
//! seen here.

use leasehold_types::QueueName;

use super::{FrozenRun, PlacedPolicy, ShardHead, ShardState};

/// The small parts of a shard as of a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenHead {
    /// The shard's own numbers.
    pub head: ShardHead,
    /// All policies, in the order of queue names.
    pub policies: Vec<(QueueName, PlacedPolicy)>,
}

impl ShardState {
    /// Begins a checkpoint of the state as it is now. One that was begun must be taken to its end, and what was taken
    /// counts as written: when it comes to nothing after all, this state must not be used for another.
    ///
    /// # Panics
    /// When the last one was not taken to its end.
    pub fn freeze(&mut self) -> FrozenHead {
        self.jobs.freeze();
        let policies = self.policies();
        FrozenHead {
            head: self.head,
            policies: policies.map(|(q, p)| (q.clone(), p.clone())).collect(),
        }
    }

    /// The next changes to write, looking at no more than so many runs; none at the end. There may be nothing to write in
    /// one though more follows.
    pub fn take_frozen(&mut self, most: usize) -> Option<Vec<FrozenRun>> {
        self.jobs.take_frozen(most)
    }

    /// Lets go of what a run was written with, once the checkpoint is durable.
    pub fn evict(&mut self, run: u64) {
        self.jobs.evict(run);
    }

    /// Bytes of payloads, results and attempts that are in memory and that the next checkpoint may let go of: about what it
    /// will write.
    #[must_use]
    pub const fn unsaved_bytes(&self) -> u64 {
        self.jobs.unsaved_bytes()
    }
}
