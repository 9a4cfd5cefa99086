//! A queue's policy arrives from the metadata, in the order in which the metadata set it.

use std::sync::Arc;

use super::Applying;
use crate::shard::command::PutPolicy;
use crate::shard::outcome::{Outcome, Refusal};
use crate::shard::state::PlacedPolicy;

impl Applying<'_> {
    pub(super) fn put_policy(&mut self, put: &PutPolicy) -> Result<Outcome, Refusal> {
        let bound = self.state.bounds.queues;
        let is_new = self.state.policy(&put.queue).is_none();
        if is_new && self.state.queues.len() >= bound {
            return Err(self.full("as many queues as it may", bound, None));
        }
        let placed = PlacedPolicy {
            policy: Arc::new(put.policy.clone()),
            index: put.index,
        };
        self.state.queues.put(&put.queue, placed);
        Ok(Outcome::PolicyPut)
    }
}
