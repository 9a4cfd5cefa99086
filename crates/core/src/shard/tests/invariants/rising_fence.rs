//! Fences rise strictly with every grant of a shard, over all its leaders.

use leasehold_types::FenceToken;

use super::Invariant;
use crate::shard::command::Batch;
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct RisingFence {
    newest: Option<FenceToken>,
}

impl Invariant for RisingFence {
    fn observe(&mut self, _: &Batch, applied: &Applied, _: &ShardState) -> Result<(), String> {
        for outcome in &applied.outcomes {
            let Outcome::Granted(granted) = outcome else {
                continue;
            };
            if self.newest >= Some(granted.fence) {
                return Err(format!("{} after {:?}", granted.fence, self.newest));
            }
            self.newest = Some(granted.fence);
        }
        Ok(())
    }
}
