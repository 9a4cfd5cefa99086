//! A change of a checkpoint on its way into a transaction of the database, and its values on theirs into their files.

use std::sync::Arc;

use bytes::Bytes;
use redb::{AccessGuard, WriteTransaction};

use super::Table;
use super::database::{Database, Definition, Meta};
use super::error::CheckpointError;
use super::pending::{Changes, Pending};
use super::values::{Appender, Pointer};

/// Changes collected before they go into their tables.
const PENDING_MAX: usize = 1024 * 1024;

/// A transaction and what has not gone into it yet.
///
/// Dropped without a commit, nothing happened.
pub(super) struct Batch {
    pub(super) transaction: WriteTransaction,
    pending: Pending,
    pub(super) values: Appender,
    meta: Meta,
    pub(super) database: Arc<Database>,
}

impl Batch {
    pub(super) fn new(database: Arc<Database>, sync_every: u64) -> Result<Self, CheckpointError> {
        let transaction = database.write()?;
        let meta = Meta::read_for_change(&transaction).map_err(database.failed("read"))?;
        Ok(Self {
            transaction,
            pending: Pending::default(),
            values: Appender::new(database.values(), sync_every),
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
        match value.filter(|_| table.is_apart) {
            Some(value) => {
                let pointer = self.append(table.name(), value)?;
                self.pending.push(table, key, Some(&pointer.encode()));
            }
            None => self.pending.push(table, key, value),
        }
        if self.pending.bytes() < PENDING_MAX {
            return Ok(());
        }
        self.apply()
    }

    pub(super) fn append(&mut self, table: &str, value: &[u8]) -> Result<Pointer, CheckpointError> {
        let appended = self.values.append(table, value);
        appended.map_err(|fault| self.database.spoilt(fault))
    }

    fn apply(&mut self) -> Result<(), CheckpointError> {
        let database = &self.database;
        let mut rows = Changing {
            transaction: &self.transaction,
            values: &mut self.values,
            live: &mut self.meta.live,
        };
        self.pending
            .drain(|table, changes| match table.pointers() {
                None => rows.apply(table.name(), changes),
                Some(pointers) => {
                    if database.has_some_in_tree(table) {
                        rows.remove_all(table.name(), changes)?;
                    }
                    rows.point(&pointers, changes)
                }
            })
            .map_err(database.failed("write"))
    }

    /// Makes the changes durable, with this head.
    pub(super) fn commit(self, head: Bytes) -> Result<(), CheckpointError> {
        self.commit_with(|_| Some(head))
    }

    /// The same, with the head that it had.
    pub(super) fn commit_as_it_was(self) -> Result<(), CheckpointError> {
        self.commit_with(|head| head)
    }

    fn commit_with(
        mut self,
        head: impl FnOnce(Option<Bytes>) -> Option<Bytes>,
    ) -> Result<(), CheckpointError> {
        self.apply()?;
        let Self {
            transaction,
            mut values,
            mut meta,
            database,
            ..
        } = self;
        values.sync().map_err(|fault| database.spoilt(fault))?;
        meta.head = head(meta.head);
        let written = values.write_extents(&transaction);
        let written = written.and_then(|()| meta.write(&transaction));
        written.map_err(database.failed("write"))?;
        values.may_count();
        let committed = database.commit(transaction);
        match &committed {
            Ok(()) => values.commit(),
            Err(CheckpointError::Full { .. }) => values.take_back(),
            Err(_) => {}
        }
        committed
    }
}

/// A transaction that changes go into.
struct Changing<'a> {
    transaction: &'a WriteTransaction,
    values: &'a mut Appender,
    live: &'a mut u64,
}

type Rows<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

impl<'t> Changing<'t> {
    fn apply(&mut self, table: &str, changes: &mut Changes) -> Result<(), redb::Error> {
        let mut rows = self.open(table)?;
        for (key, value) in changes.sorted() {
            drop(self.replace(&mut rows, key, value)?);
        }
        Ok(())
    }

    /// As [`Changing::apply`], for rows that point to values.
    fn point(&mut self, table: &str, changes: &mut Changes) -> Result<(), redb::Error> {
        let mut rows = self.open(table)?;
        for (key, pointer) in changes.sorted() {
            if let Some(before) = self.replace(&mut rows, key, pointer)? {
                self.values.is_unwanted(&Pointer::decode(before.value())?)?;
            }
            if let Some(pointer) = pointer {
                self.values.is_wanted(&Pointer::decode(pointer)?)?;
            }
        }
        Ok(())
    }

    /// Removes what an earlier format may have under the keys of some changes.
    fn remove_all(&mut self, table: &str, changes: &mut Changes) -> Result<(), redb::Error> {
        let mut rows = self.open(table)?;
        for (key, _) in changes.sorted() {
            drop(self.replace(&mut rows, key, None)?);
        }
        Ok(())
    }

    fn open(&self, table: &str) -> Result<Rows<'t>, redb::Error> {
        Ok(self.transaction.open_table(Definition::new(table))?)
    }

    /// Puts or removes a row, and gives what was there.
    fn replace<'a>(
        &mut self,
        rows: &'a mut Rows<'_>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<AccessGuard<'a, &'static [u8]>>, redb::Error> {
        let before = match value {
            Some(value) => rows.insert(key, value)?,
            None => rows.remove(key)?,
        };
        let row_bytes = |value: &[u8]| (key.len() + value.len()) as u64;
        *self.live += value.map_or(0, row_bytes);
        *self.live -= before
            .as_ref()
            .map_or(0, |before| row_bytes(before.value()));
        Ok(before)
    }
}
