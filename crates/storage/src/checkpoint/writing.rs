//! One change of a checkpoint, from its beginning to its commit.

use bytes::Bytes;

use super::Table;
use super::batch::Batch;
use super::error::CheckpointError;
use super::handle::Turn;

/// One change of a checkpoint. There is one at a time. Dropped without [`Writing::commit`], nothing happened.
///
/// After an error of any of its functions it can only be dropped.
pub struct Writing {
    batch: Batch,
    /// Given back last.
    _turn: Turn,
}

impl Writing {
    pub(super) const fn new(batch: Batch, turn: Turn) -> Self {
        Self { batch, _turn: turn }
    }

    /// Puts a value under a key, in place of one that is there. Rising keys cost least.
    ///
    /// # Errors
    /// When the disk is full or fails, which may be noticed some puts later, or at the commit.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), CheckpointError> {
        self.batch.change(table, key, Some(value))
    }

    /// Removes what is under a key. That there is none is no error.
    ///
    /// # Errors
    /// As [`Writing::put`].
    pub fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), CheckpointError> {
        self.batch.change(table, key, None)
    }

    /// Makes the changes count, all at once. Durable when it returns; views taken from now on see them and this head.
    ///
    /// # Errors
    /// [`CheckpointError::Full`]: the changes certainly do not count, and may be made again, from
    /// [`Checkpoint::begin`](super::Checkpoint::begin) on, when there is room. After any other error, whether they count
    /// is told by the head of the view that can be taken after a new start of the process.
    pub fn commit(self, head: &[u8]) -> Result<(), CheckpointError> {
        let Self { batch, _turn: turn } = self;
        let committed = batch.commit(Bytes::copy_from_slice(head));
        drop(turn);
        committed
    }
}
