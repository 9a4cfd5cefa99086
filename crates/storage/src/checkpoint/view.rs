//! Reading a checkpoint, as of one commit.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use redb::{AccessGuard, Range, ReadOnlyTable, ReadTransaction, TableError};

use super::Table;
use super::database::{Database, Definition, Meta};
use super::error::CheckpointError;
use super::handle::Shared;
use super::values::{Files, Pointer};

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
    /// All that its rows point into.
    files: Arc<Files>,
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
        let (transaction, files) = pin(&database)?;
        let meta = Meta::read(&transaction).map_err(database.failed("read"))?;
        Ok(Self {
            transaction: Arc::new(transaction),
            head: meta.head,
            files,
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
        if let Some(pointers) = table.pointers()
            && let Some(pointer) = self.get_row(&pointers, key)?
        {
            return read(&self.database, &self.files, pointer.value()).map(Some);
        }
        if table.is_apart && !self.database.has_some_in_tree(table) {
            return Ok(None);
        }
        let row = self.get_row(table.name(), key)?;
        Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
    }

    fn get_row(
        &self,
        table: &str,
        key: &[u8],
    ) -> Result<Option<AccessGuard<'static, Value>>, CheckpointError> {
        match self.open(table)? {
            Some(rows) => rows.get(key).map_err(self.database.failed("read")),
            None => Ok(None),
        }
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
        let pointers = match table.pointers() {
            Some(pointers) => self.range(&pointers, bounds)?,
            None => None,
        };
        let whole = match table.is_apart && !self.database.has_some_in_tree(table) {
            true => None,
            false => self.range(table.name(), bounds)?,
        };
        Ok(Rows {
            whole: Ahead::new(whole),
            pointers: Ahead::new(pointers),
            files: Arc::clone(&self.files),
            database: Arc::clone(&self.database),
            _handle: Arc::clone(&self.handle),
        })
    }

    fn range(
        &self,
        table: &str,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Option<Range<'static, Key, Value>>, CheckpointError> {
        match self.open(table)? {
            Some(rows) if !is_empty(bounds) => {
                let range = rows.range::<&[u8]>(bounds);
                range.map(Some).map_err(self.database.failed("read"))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn open(&self, table: &str) -> Result<Option<ReadOnlyTable<Key, Value>>, CheckpointError> {
        self.database.check()?;
        match self.transaction.open_table(Definition::new(table)) {
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

/// A transaction, and the files that were there as of its commit.
///
/// A file is among them before the commit that first points into it, and after the last one that does. So if they are
/// the same before the transaction and after, they are all that it can want.
fn pin(database: &Database) -> Result<(ReadTransaction, Arc<Files>), CheckpointError> {
    loop {
        let files = database.values().files();
        let transaction = database.read()?;
        if Arc::ptr_eq(&files, &database.values().files()) {
            return Ok((transaction, files));
        }
    }
}

/// The value that a row points to.
fn read(database: &Database, files: &Files, pointer: &[u8]) -> Result<Bytes, CheckpointError> {
    let pointer = Pointer::decode(pointer).map_err(database.failed("read"))?;
    let value = files.read(&pointer);
    value.map_err(|fault| database.spoilt(fault))
}

/// The rows that a scan finds. Ends after the first error.
pub struct Rows {
    /// With their values.
    whole: Ahead,
    /// Those that point to their values.
    pointers: Ahead,
    files: Arc<Files>,
    database: Arc<Database>,
    /// As in a view.
    _handle: Arc<Shared>,
}

type Row = (AccessGuard<'static, Key>, AccessGuard<'static, Value>);

/// A range, and the row that comes next.
struct Ahead {
    next: Option<Result<Row, redb::StorageError>>,
    rest: Option<Range<'static, Key, Value>>,
}

impl Ahead {
    fn new(rest: Option<Range<'static, Key, Value>>) -> Self {
        let mut ahead = Self { next: None, rest };
        ahead.step();
        ahead
    }

    fn step(&mut self) {
        self.next = self.rest.as_mut().and_then(Iterator::next);
    }

    fn take(&mut self) -> Option<Result<Row, redb::StorageError>> {
        let next = self.next.take();
        self.step();
        next
    }

    /// The key of the next row; none when there is none, or it cannot be read.
    fn key(&self) -> Option<&[u8]> {
        let (key, _) = self.next.as_ref()?.as_ref().ok()?;
        Some(key.value())
    }

    /// Whether this one's turn comes before another's. A row that cannot be read comes first, and ends both.
    fn is_before(&self, other: &Self) -> bool {
        match (&self.next, &other.next) {
            (None, _) => false,
            (Some(_), None) | (Some(Err(_)), _) => true,
            (Some(Ok(_)), Some(_)) => self.key() < other.key(),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<(Bytes, Bytes), CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.database.check().and_then(|()| self.step());
        if row.is_err() {
            (self.whole, self.pointers) = (Ahead::new(None), Ahead::new(None));
        }
        row.transpose()
    }
}

impl Rows {
    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, CheckpointError> {
        let is_whole = self.whole.is_before(&self.pointers);
        let next = match is_whole {
            true => self.whole.take(),
            false => self.pointers.take(),
        };
        let Some(row) = next else {
            return Ok(None);
        };
        let (key, value) = row.map_err(self.database.failed("read"))?;
        let value = match is_whole {
            true => Bytes::copy_from_slice(value.value()),
            false => read(&self.database, &self.files, value.value())?,
        };
        Ok(Some((Bytes::copy_from_slice(key.value()), value)))
    }
}
