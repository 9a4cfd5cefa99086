//! A dead letter is removed before its time; its id and key stay known as if it had been purged.

use super::Applying;
use crate::shard::command::Discard;
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn discard(&mut self, discard: &Discard) -> Result<Outcome, Refusal> {
        self.dead_letter(discard.job, "only a dead letter can be discarded")?;
        self.state.release_ended(discard.job);
        Ok(Outcome::Discarded)
    }
}
