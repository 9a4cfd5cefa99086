//! Nothing is granted by a leader whose own start was not applied, or whose leadership is over.

use leasehold_types::ShardEpoch;

use super::Invariant;
use crate::shard::command::Batch;
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct LedGrant {
    led: ShardEpoch,
}

impl Invariant for LedGrant {
    fn observe(&mut self, batch: &Batch, applied: &Applied, _: &ShardState) -> Result<(), String> {
        for outcome in &applied.outcomes {
            if let Outcome::Led(epoch) = outcome {
                if *epoch <= self.led {
                    return Err(format!("{epoch} begins after {}", self.led));
                }
                self.led = *epoch;
            }
            if let Outcome::Granted(granted) = outcome
                && (granted.fence.epoch() != self.led || batch.epoch != self.led)
            {
                return Err(format!("{} granted in {}", granted.fence, self.led));
            }
        }
        Ok(())
    }
}
