//! One change of a checkpoint, from its beginning to its commit.

use std::sync::Arc;

use bytes::Bytes;
use redb::WriteTransaction;

use super::Table;
use super::database::{Database, Definition, Meta};
use super::error::CheckpointError;
use super::handle::Turn;
use super::pending::{Changes, Pending};

/// Changes collected before they go into their tables.
const PENDING_MAX: usize = 1024 * 1024;

/// A transaction and what has not gone into it yet.
///
/// Dropped without a commit, nothing happened.
pub(super) struct Batch {
    transaction: WriteTransaction,
    pending: Pending,
    meta: Meta,
    database: Arc<Database>,
}

impl Batch {
    pub(super) fn new(database: Arc<Database>) -> Result<Self, CheckpointError> {
        let transaction = database.write()?;
        let meta = Meta::read_for_change(&transaction).map_err(database.failed("read"))?;
        Ok(Self {
            transaction,
            pending: Pending::default(),
            meta,
            database,
        })
    }

    pub(super) fn change(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), CheckpointError> {
        self.database.check()?;
        self.pending.push(table, key, value);
        if self.pending.bytes() < PENDING_MAX {
            return Ok(());
        }
        self.apply()
    }

    fn apply(&mut self) -> Result<(), CheckpointError> {
        let (transaction, live) = (&self.transaction, &mut self.meta.live);
        self.pending
            .drain(|table, changes| apply(transaction, table, changes, live))
            .map_err(self.database.failed("write"))
    }

    /// Makes the changes durable, with this head.
    pub(super) fn commit(mut self, head: Option<Bytes>) -> Result<(), CheckpointError> {
        self.apply()?;
        self.meta.head = head;
        let written = self.meta.write(&self.transaction);
        written.map_err(self.database.failed("write"))?;
        self.database.commit(self.transaction)
    }
}

fn apply(
    transaction: &WriteTransaction,
    table: Table,
    changes: &mut Changes,
    live: &mut u64,
) -> Result<(), redb::Error> {
    let mut rows = transaction.open_table(Definition::new(table.name()))?;
    for (key, value) in changes.sorted() {
        let before = match value {
            Some(value) => rows.insert(key, value)?,
            None => rows.remove(key)?,
        };
        let row_bytes = |value: &[u8]| (key.len() + value.len()) as u64;
        *live += value.map_or(0, row_bytes);
        *live -= before.map_or(0, |before| row_bytes(before.value()));
    }
    Ok(())
}

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
        let committed = batch.commit(Some(Bytes::copy_from_slice(head)));
        drop(turn);
        committed
    }
}
