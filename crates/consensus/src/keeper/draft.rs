//! A checkpoint that is being written: what was frozen, and what was taken of it so far.
//!
//! What was taken counts as written for the machine, so it is kept until it is durable. When the disk is full nothing of it
//! is, certainly, and the same is written again, from its beginning, once there is room.

use leasehold_storage::{Checkpoint, CheckpointError};

use crate::disk;
use crate::machine::Machine;
use crate::state::{Covered, Shared};
use crate::types::SnapshotMeta;

pub(super) struct Draft<M: Machine> {
    meta: SnapshotMeta,
    frozen: M::Frozen,
    taken: Vec<M::Portion>,
}

impl<M: Machine> Draft<M> {
    pub(super) fn new((frozen, meta): (M::Frozen, SnapshotMeta)) -> Self {
        let taken = Vec::new();
        Self {
            meta,
            frozen,
            taken,
        }
    }

    /// What it covers once it is durable.
    pub(super) const fn covers(&self) -> Covered {
        self.meta.last_log_id
    }

    /// Writes it whole, and lets go of what is durable then.
    pub(super) fn write(
        &mut self,
        shared: &Shared<M>,
        checkpoint: &Checkpoint,
    ) -> Result<(), CheckpointError> {
        let mut writing = checkpoint.begin()?;
        let again = self.taken.iter();
        let mut written = again
            .map(|portion| M::write(portion, &mut writing))
            .collect::<Result<Vec<_>, _>>()?;
        while let Some(portion) = shared.between_entries(|m| m.take(&mut self.frozen)) {
            let outcome = M::write(&portion, &mut writing);
            self.taken.push(portion);
            written.push(outcome?);
        }
        writing.commit(&disk::encode_snapshot_header(&self.meta))?;
        // Before anything is let go of: what is still shared with a portion would be copied for that.
        self.taken.clear();
        for portion in written {
            shared.between_entries(|m| m.release(portion));
        }
        Ok(())
    }
}
