//! Reading a checkpoint, as of one commit.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Range, ReadOnlyTable, ReadTransaction, TableError};

use super::Table;
use super::database::{Database, Definition, Meta};
use super::error::CheckpointError;
use super::handle::Shared;

type Key = &'static [u8];
type Value = &'static [u8];

/// A checkpoint as of one commit, whatever is committed or takes its place meanwhile. Clones are cheap.
///
/// While one is there, the room of rows that were changed or removed since is not used again.
#[derive(Clone)]
pub struct View {
    // Before the database: it goes back there when it is dropped.
    transaction: Arc<ReadTransaction>,
    head: Option<Bytes>,
    database: Arc<Database>,
    /// SUBTLE: without it, a file whose handles are gone could be opened a second time, by a database that knows
    /// nothing of this view and writes over what it reads.
    handle: Arc<Shared>,
}

impl View {
    pub(super) fn new(
        database: Arc<Database>,
        handle: Arc<Shared>,
    ) -> Result<Self, CheckpointError> {
        let transaction = database.read()?;
        let meta = Meta::read(&transaction).map_err(database.failed("read"))?;
        Ok(Self {
            transaction: Arc::new(transaction),
            head: meta.head,
            database,
            handle,
        })
    }

    /// What the commit was given for a head; none for an empty checkpoint.
    #[must_use]
    pub fn head(&self) -> Option<Bytes> {
        self.head.clone()
    }

    /// The value under a key.
    ///
    /// # Errors
    /// [`CheckpointError::Corrupt`] names the file and the offset. Nothing damaged is ever returned.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, CheckpointError> {
        let Some(rows) = self.open(table)? else {
            return Ok(None);
        };
        let row = rows.get(key).map_err(self.database.failed("read"))?;
        Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
    }

    /// The rows of a table whose keys are in a range, by rising key: `..` for all, or two bounds,
    /// `(Included(first), Excluded(end))`.
    ///
    /// # Errors
    /// As [`View::get`], here or from any row on.
    pub fn scan(
        &self,
        table: Table,
        range: impl RangeBounds<[u8]>,
    ) -> Result<Rows, CheckpointError> {
        let bounds = (range.start_bound(), range.end_bound());
        let rows = match self.open(table)? {
            Some(rows) if !is_empty(bounds) => rows
                .range::<&[u8]>(bounds)
                .map(Some)
                .map_err(self.database.failed("read"))?,
            Some(_) | None => None,
        };
        Ok(Rows {
            rows,
            database: Arc::clone(&self.database),
            _handle: Arc::clone(&self.handle),
        })
    }

    fn open(&self, table: Table) -> Result<Option<ReadOnlyTable<Key, Value>>, CheckpointError> {
        self.database.check()?;
        match self.transaction.open_table(Definition::new(table.name())) {
            Ok(rows) => Ok(Some(rows)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.database.failed("read")(error)),
        }
    }
}

/// Whether no key can lie between two bounds.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Included(first), Bound::Included(last)) => first > last,
        (Bound::Included(first), Bound::Excluded(end))
        | (Bound::Excluded(first), Bound::Included(end) | Bound::Excluded(end)) => first >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

/// The rows that a scan finds. Ends after the first error.
pub struct Rows {
    rows: Option<Range<'static, Key, Value>>,
    database: Arc<Database>,
    /// As in a view.
    _handle: Arc<Shared>,
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.database.check().and_then(|()| self.step());
        if row.is_err() {
            self.rows = None;
        }
        row.transpose()
    }
}

impl Rows {
    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, CheckpointError> {
        let Some(row) = self.rows.as_mut().and_then(Iterator::next) else {
            return Ok(None);
        };
        let (key, value) = row.map_err(self.database.failed("read"))?;
        Ok(Some((
            Bytes::copy_from_slice(key.value()),
            Bytes::copy_from_slice(value.value()),
        )))
    }
}
