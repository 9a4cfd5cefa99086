//! Giving back the room of rows that are gone.
//!
//! redb uses free pages again and cuts those at the end of its file, but one row that stays near the end keeps all the
//! free pages before it. Copying the rows into a fresh file costs what is there, not what was; redb's own compaction
//! moves pages within the file instead, and wants neither views nor changes meanwhile.

use std::sync::Arc;

use redb::{Range, ReadTransaction, TableHandle as _};

use super::database::{Database, Definition, Meta};
use super::error::CheckpointError;
use super::handle::{Checkpoint, Shared};
use crate::disk::TEMPORARY;

/// A file is worth the work when its rows are less than one part in this many of it. A B-tree is often half empty, and
/// redb doubles its file when it is full, so that a quarter would be reached without a single row gone.
const LIVE_PART: u64 = 6;
/// Bytes copied in one transaction.
const COPIED_AT_ONCE: usize = 32 * 1024 * 1024;

type Source = Range<'static, &'static [u8], &'static [u8]>;

impl Checkpoint {
    /// Copies the rows into a fresh file, which then takes this one's place, if most of a large file is free space;
    /// says whether it did. Views go on; a change cannot begin meanwhile. Needs room on the disk for the rows twice.
    ///
    /// # Errors
    /// When the disk is full or fails; unless it failed at the very end, the checkpoint is as it was.
    pub fn compact_if_worth(&self) -> Result<bool, CheckpointError> {
        let (_turn, database) = match self.shared.take_turn() {
            Err(CheckpointError::Busy { .. }) => return Ok(false),
            turn => turn?,
        };
        let source = database.read()?;
        let meta = Meta::read(&source).map_err(database.failed("read"))?;
        let length = database.length();
        if length < self.shared.options.compact_from || meta.live >= length / LIVE_PART {
            return Ok(false);
        }
        database.values().drop_spare();
        let temporary = format!("{}{TEMPORARY}", self.shared.name);
        let compacted = copy(&self.shared, &database, &source, &temporary)
            .and_then(|fresh| self.shared.install(fresh, || ()));
        if let Err(error) = compacted {
            // Its space may be what others are waiting for; that it may be gone already is no error.
            let _ = self.shared.disk.remove(&temporary);
            return Err(error);
        }
        Ok(true)
    }
}

/// A fresh file with the same rows.
fn copy(
    shared: &Shared,
    database: &Database,
    source: &ReadTransaction,
    temporary: &str,
) -> Result<Arc<Database>, CheckpointError> {
    let mut fresh = Database::create(shared.place(temporary))?;
    let owned = Arc::get_mut(&mut fresh);
    owned.expect("nobody else has it yet").take_over(database);
    let tables = source.list_tables().map_err(database.failed("read"))?;
    for table in tables {
        let table = Definition::new(table.name());
        let rows = source.open_table(table).map_err(database.failed("read"))?;
        let mut rows = rows.range::<&[u8]>(..).map_err(database.failed("read"))?;
        while copy_some(database, &mut rows, &fresh, table)? {}
    }
    Ok(fresh)
}

/// Copies rows until there are none, or enough for one transaction; says whether there may be more.
fn copy_some(
    database: &Database,
    rows: &mut Source,
    fresh: &Database,
    table: Definition<'_>,
) -> Result<bool, CheckpointError> {
    let transaction = fresh.write()?;
    let mut copied = 0;
    {
        let mut target = transaction
            .open_table(table)
            .map_err(fresh.failed("write"))?;
        while copied < COPIED_AT_ONCE {
            let Some(row) = rows.next() else { break };
            let (key, value) = row.map_err(database.failed("read"))?;
            let (key, value) = (key.value(), value.value());
            let _ = target.insert(key, value).map_err(fresh.failed("write"))?;
            copied += key.len() + value.len();
        }
    }
    fresh.commit(transaction)?;
    Ok(copied >= COPIED_AT_ONCE)
}
