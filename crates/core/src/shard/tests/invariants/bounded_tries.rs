//! No job is tried more often than its queue allows, and none kills more workers than that.

use super::Invariant;
use crate::shard::command::Batch;
use crate::shard::job::JobHeader;
use crate::shard::outcome::Applied;
use crate::shard::state::ShardState;
use leasehold_types::limits;

#[derive(Default)]
pub(super) struct BoundedTries;

impl Invariant for BoundedTries {
    fn observe(&mut self, _: &Batch, _: &Applied, state: &ShardState) -> Result<(), String> {
        let headers = state.jobs().map(|job| &job.header);
        match headers
            .into_iter()
            .find(|header| !is_bounded(state, header))
        {
            Some(header) => Err(format!("job {} was tried {:?}", header.id, header.tries)),
            None => Ok(()),
        }
    }
}

fn is_bounded(state: &ShardState, header: &JobHeader) -> bool {
    let Some(policy) = state.policy(&header.queue) else {
        return false;
    };
    let tries = header.tries;
    let is_over = header.state.is_terminal();
    tries.failed <= policy.max_attempts
        && tries.lost <= policy.max_losses
        && tries.infrastructure <= limits::INFRASTRUCTURE_FAULTS
        && tries.released <= limits::RELEASES
        && (is_over || (tries.failed < policy.max_attempts && tries.lost < policy.max_losses))
}
