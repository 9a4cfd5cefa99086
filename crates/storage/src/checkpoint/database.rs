//! One file of a checkpoint with the database in it, for as long as anybody reads it.
//!
//! A checkpoint changes files when another takes its place; views of the earlier one keep its database alive.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use leasehold_types::GroupId;
use redb::{
    ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
    WriteTransaction,
};

use super::error::CheckpointError;
use super::file::{Backend, BlockFile, Fault, FirstFault, Outcome};
use super::values::{Extents, Numbers, ValueSet, read_extents};
use super::{CheckpointOptions, Table};
use crate::disk::{Disk, OpenMode, create_temporary};

/// What all tables are to redb: bytes under bytes, in their order.
pub(super) type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// What a commit says about the checkpoint as a whole. No caller's table has a colon in its name.
pub(super) const META: Definition<'static> = Definition::new("checkpoint:meta");
/// The caller's head, in [`META`].
const HEAD: &[u8] = b"head";
/// Bytes of all keys and values, in [`META`].
const LIVE: &[u8] = b"live";

/// Which file of which group, and how it is used.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) numbers: &'a Arc<Numbers>,
    pub(super) group: GroupId,
    pub(super) options: CheckpointOptions,
    pub(super) name: &'a str,
}

/// One file and its database.
pub(super) struct Database {
    redb: redb::Database,
    file: Arc<BlockFile>,
    values: Arc<ValueSet>,
    /// Tables that had rows of the caller's in the tree when it was opened. One whose values lie apart may be among them:
    /// before [format](super::CHECKPOINT_FORMAT) 2 they did not.
    in_tree: BTreeSet<String>,
    /// Changes when the file takes another's place.
    name: Mutex<String>,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.file.retire();
    }
}

impl Database {
    /// Opens a file that is there.
    pub(super) fn open(place: Place<'_>) -> Result<Arc<Self>, CheckpointError> {
        let file = place
            .disk
            .open(place.name, OpenMode::Existing)
            .map_err(|error| CheckpointError::io("open", place.name, error))?;
        let file = BlockFile::open(file, place.group, place.options.sync_every);
        Self::over(place, file)
    }

    /// Makes an empty one, durable but for its name. A leftover of that name goes away, and nothing is left of one that
    /// could not be made.
    pub(super) fn create(place: Place<'_>) -> Result<Arc<Self>, CheckpointError> {
        let file = create_temporary(place.disk.as_ref(), place.name)
            .map_err(|error| CheckpointError::io("create", place.name, error))?;
        let file = BlockFile::create(file, place.group, place.options.sync_every);
        Self::over(place, file).inspect_err(|_| drop(place.disk.remove(place.name)))
    }

    fn over(
        place: Place<'_>,
        file: Result<BlockFile, Fault>,
    ) -> Result<Arc<Self>, CheckpointError> {
        let file = file.map_err(|fault| CheckpointError::of_fault(place.name, &fault))?;
        let file = Arc::new(file);
        let opened = redb::Builder::new()
            .set_cache_size(place.options.cache_bytes)
            .create_with_backend(Backend(Arc::clone(&file)));
        let failed = |error| CheckpointError::of_redb("open", place.name, &file, error);
        let redb = opened.map_err(|error| failed(error.into()))?;
        let (in_tree, extents) = read_index(&redb).map_err(failed)?;
        let (options, group) = (place.options, place.group);
        let values = ValueSet::open(
            place.disk,
            place.numbers,
            group,
            options.value_file_bytes,
            extents,
        )
        .map_err(|fault| CheckpointError::of_fault(place.name, &fault))?;
        Ok(Arc::new(Self {
            redb,
            file,
            values: Arc::new(values),
            in_tree,
            name: Mutex::new(place.name.to_owned()),
        }))
    }

    /// The values that lie in files of their own.
    pub(super) const fn values(&self) -> &Arc<ValueSet> {
        &self.values
    }

    /// Takes over what another has beside its tree: the tree was copied.
    pub(super) fn take_over(&mut self, other: &Self) {
        self.values.take_over(&other.values);
        self.in_tree.clone_from(&other.in_tree);
    }

    /// Whether some values of a table may lie in the tree although they lie apart by now.
    pub(super) fn has_some_in_tree(&self, table: Table) -> bool {
        self.in_tree.contains(table.name())
    }

    pub(super) fn name(&self) -> String {
        let name = self.name.lock();
        name.expect("no holder of this lock panics").clone()
    }

    pub(super) fn renamed_to(&self, name: &str) {
        let mut held = self.name.lock().expect("no holder of this lock panics");
        name.clone_into(&mut held);
    }

    /// Length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.file.file_length()
    }

    /// The error that ended the use of the file.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.file.fault()
    }

    /// The same, for whoever outlives this.
    pub(super) fn first_fault(&self) -> FirstFault {
        self.file.first_fault()
    }

    /// Keeps what went wrong with a file of values: this one cannot do without.
    pub(super) fn spoilt(&self, fault: Fault) -> CheckpointError {
        let first = self.file.first_fault();
        CheckpointError::of_fault(&self.name(), first.put(fault))
    }

    /// Ends the use of the file: a sync that it depends on failed.
    pub(super) fn end(&self, error: io::Error) {
        self.file.end(error);
    }

    /// Refuses when the file can no longer be used.
    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        match self.fault() {
            Some(fault) => Err(CheckpointError::of_fault(&self.name(), &fault)),
            None => Ok(()),
        }
    }

    /// Puts an error of redb into our words.
    pub(super) fn failed<E: Into<redb::Error>>(
        &self,
        action: &'static str,
    ) -> impl Fn(E) -> CheckpointError + '_ {
        move |error| CheckpointError::of_redb(action, &self.name(), &self.file, error.into())
    }

    /// A transaction that sees the last commit for as long as it lives.
    pub(super) fn read(&self) -> Result<ReadTransaction, CheckpointError> {
        self.check()?;
        self.redb.begin_read().map_err(self.failed("read"))
    }

    /// A transaction that changes the checkpoint. There must be no other.
    pub(super) fn write(&self) -> Result<WriteTransaction, CheckpointError> {
        self.check()?;
        let begun = self.redb.try_begin_write();
        let mut transaction = begun.map_err(self.failed("write"))?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// Makes a change count. What redb does after that may fail without harm to the commit: the file can no longer be
    /// used, and the next who wants to hears of it.
    pub(super) fn commit(&self, transaction: WriteTransaction) -> Result<(), CheckpointError> {
        let before = self.file.counting();
        let Err(error) = transaction.commit() else {
            return Ok(());
        };
        let error = self.failed("write")(error);
        match self.file.outcome(before) {
            Outcome::CertainlyNot => Err(error),
            Outcome::Unknown => Err(error.of_unknown_outcome()),
            Outcome::Durable => {
                tracing::warn!(%error, "a checkpoint was committed, and could not be tidied");
                Ok(())
            }
        }
    }
}

/// The caller's tables that are in the tree, and what is known of the files of values.
fn read_index(redb: &redb::Database) -> Result<(BTreeSet<String>, Extents), redb::Error> {
    let transaction = redb.begin_read()?;
    let tables = transaction
        .list_tables()?
        .map(|table| table.name().to_owned());
    let in_tree = tables.filter(|table| !table.contains(':')).collect();
    Ok((in_tree, read_extents(&transaction)?))
}

/// What [`META`] holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Meta {
    pub(super) head: Option<Bytes>,
    /// Bytes of all keys and values.
    pub(super) live: u64,
}

impl Meta {
    /// As of a commit.
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let table = match transaction.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        Self::of(|key| {
            let row = table.get(key)?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
        })
    }

    /// As of the commit that a change builds upon.
    pub(super) fn read_for_change(transaction: &WriteTransaction) -> Result<Self, redb::Error> {
        let table = transaction.open_table(META)?;
        Self::of(|key| {
            let row = table.get(key)?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
        })
    }

    fn of(
        get: impl Fn(&[u8]) -> Result<Option<Bytes>, redb::StorageError>,
    ) -> Result<Self, redb::Error> {
        let head = get(HEAD)?;
        let live = match get(LIVE)? {
            Some(live) => parse_live(&live)?,
            None => 0,
        };
        Ok(Self { head, live })
    }

    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let mut table = transaction.open_table(META)?;
        if let Some(head) = &self.head {
            let _ = table.insert(HEAD, head.as_ref())?;
        }
        let _ = table.insert(LIVE, self.live.to_le_bytes().as_slice())?;
        Ok(())
    }
}

fn parse_live(live: &[u8]) -> Result<u64, redb::Error> {
    let live = live.try_into().map(u64::from_le_bytes);
    live.map_err(|_| redb::Error::Corrupted("its count of live bytes has no 8 bytes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn what_became_of_a_commit_is_told_by_the_header_of_redb() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let place = Place {
            disk: &disk,
            numbers: &Arc::default(),
            group: GroupId::new(3),
            options: CheckpointOptions::default(),
            name: "checkpoint-g3",
        };
        let database = Database::create(place).unwrap();
        for live in 0..5 {
            let before = database.file.counting();
            let transaction = database.write().unwrap();
            let meta = Meta { head: None, live };
            meta.write(&transaction).unwrap();
            assert_eq!(database.file.outcome(before), Outcome::CertainlyNot);
            database.commit(transaction).unwrap();
            assert_eq!(database.file.outcome(before), Outcome::Durable);
        }
        let before = database.file.counting();
        drop(database);
        let database = Database::open(place).unwrap();
        assert_eq!(database.file.counting(), before);
        drop(database.write().unwrap());
        assert_eq!(database.file.outcome(before), Outcome::CertainlyNot);
    }
}
