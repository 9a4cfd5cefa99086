//! What must hold of every history of a shard, one file a property.
//!
//! Each is told of every entry that was applied, with what came of it and the state after it, whoever led.

mod accepted_fence;
mod acknowledged_submit;
mod bounded_tries;
mod led_grant;
mod live_lease;
mod one_job_per_key;
mod one_result;
mod rising_fence;

use crate::shard::command::Batch;
use crate::shard::outcome::Applied;
use crate::shard::state::ShardState;

/// A property of histories.
pub(super) trait Invariant {
    /// Takes an applied entry in, and says what is wrong with it.
    fn observe(
        &mut self,
        batch: &Batch,
        applied: &Applied,
        state: &ShardState,
    ) -> Result<(), String>;
}

/// All of them.
#[derive(Default)]
pub(super) struct Invariants {
    acknowledged_submit: acknowledged_submit::AcknowledgedSubmit,
    one_result: one_result::OneResult,
    accepted_fence: accepted_fence::AcceptedFence,
    rising_fence: rising_fence::RisingFence,
    led_grant: led_grant::LedGrant,
    one_job_per_key: one_job_per_key::OneJobPerKey,
    bounded_tries: bounded_tries::BoundedTries,
    live_lease: live_lease::LiveLease,
}

impl Invariants {
    /// Panics with the entry and what is wrong with it.
    pub(super) fn observe(&mut self, batch: &Batch, applied: &Applied, state: &ShardState) {
        let all: [&mut dyn Invariant; 8] = [
            &mut self.acknowledged_submit,
            &mut self.one_result,
            &mut self.accepted_fence,
            &mut self.rising_fence,
            &mut self.led_grant,
            &mut self.one_job_per_key,
            &mut self.bounded_tries,
            &mut self.live_lease,
        ];
        for invariant in all {
            if let Err(wrong) = invariant.observe(batch, applied, state) {
                panic!("{wrong}\nafter {batch:#?}\n{applied:#?}");
            }
        }
    }
}
