//! Values on their way into their files, for one change of the checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redb::WriteTransaction;

use super::extent::{Extent, Extents, write_changed};
use super::file::ValueFile;
use super::pointer::Pointer;
use super::set::ValueSet;
use crate::checkpoint::file::Fault;

/// Bytes written at once: few calls, and not so much that it is cold by then.
const WRITE_BYTES: usize = 256 * 1024;

/// Appends values, and keeps count of what is wanted. Dropped before [`Appender::commit`], it takes back what it made,
/// unless it was told that this may count.
pub(in crate::checkpoint) struct Appender {
    set: Arc<ValueSet>,
    /// What the last commit knows.
    before: Arc<Extents>,
    /// What this change makes of it.
    extents: Extents,
    /// Where the next value of each table goes.
    tails: BTreeMap<String, Tail>,
    created: BTreeSet<u64>,
    /// A file that is being emptied: nothing is appended to it.
    leaving: Option<u64>,
    /// Bytes written between two syncs.
    sync_every: u64,
    is_settled: bool,
}

/// The end of a file.
struct Tail {
    file: Arc<ValueFile>,
    /// Behind what is in the buffer.
    end: u64,
    /// From how many bytes on the file is full.
    full_from: u64,
    buffer: Vec<u8>,
    unsynced: u64,
}

impl Tail {
    const fn at(file: Arc<ValueFile>, end: u64, full_from: u64) -> Self {
        Self {
            file,
            end,
            full_from,
            buffer: Vec::new(),
            unsynced: 0,
        }
    }

    fn append(&mut self, value: &[u8], length: u32) -> Pointer {
        let pointer = Pointer {
            file: self.file.number,
            offset: self.end,
            length,
            checksum: crc32fast::hash(value),
        };
        self.buffer.extend_from_slice(value);
        self.end += u64::from(length);
        pointer
    }

    fn write(&mut self) -> Result<(), Fault> {
        let length = self.buffer.len() as u64;
        self.file.write(self.end - length, &self.buffer)?;
        self.buffer.clear();
        self.unsynced += length;
        Ok(())
    }

    fn write_if_worth(&mut self, sync_every: u64) -> Result<(), Fault> {
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        self.write()?;
        match self.unsynced >= sync_every {
            true => self.sync(),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.unsynced = 0;
        self.file.sync()
    }

    fn finish(&mut self) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            self.write()?;
        }
        match self.unsynced {
            0 => Ok(()),
            _ => self.sync(),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if !self.is_settled {
            self.take_back();
        }
    }
}

impl Appender {
    pub(in crate::checkpoint) fn new(set: &Arc<ValueSet>, sync_every: u64) -> Self {
        let before = set.extents();
        Self {
            set: Arc::clone(set),
            extents: before.as_ref().clone(),
            before,
            tails: BTreeMap::new(),
            created: BTreeSet::new(),
            leaving: None,
            sync_every,
            is_settled: false,
        }
    }

    /// The file that is worth being emptied, if any is, and its table: from now on nothing is appended to it.
    pub(in crate::checkpoint) fn leave_sparsest(&mut self) -> Option<(u64, String)> {
        let number = self.set.sparsest()?;
        self.leaving = Some(number);
        let table = self.extents.get(&number)?.table.clone();
        Some((number, table))
    }

    /// Appends a value for a table. It is wanted once it is [counted](Appender::is_wanted).
    pub(in crate::checkpoint) fn append(
        &mut self,
        table: &str,
        value: &[u8],
    ) -> Result<Pointer, Fault> {
        // A pointer has four bytes for it, and whoever has so much would not hold it in memory.
        let length = u32::try_from(value.len()).expect("a value is far below four gigabytes");
        let tail = self.tails.get(table);
        if tail.is_none_or(|tail| tail.end >= tail.full_from) {
            self.next_tail(table)?;
        }
        let sync_every = self.sync_every;
        let tail = self.tails.get_mut(table).expect("it was just put there");
        let pointer = tail.append(value, length);
        let extent = self.extents.get_mut(&pointer.file);
        extent.expect("a tail has an extent").end = tail.end;
        tail.write_if_worth(sync_every)?;
        Ok(pointer)
    }

    fn next_tail(&mut self, table: &str) -> Result<(), Fault> {
        if let Some(mut full) = self.tails.remove(table) {
            full.finish()?;
        }
        let full_from = self.set.full_from(&self.extents);
        let last = self.last_of(table, full_from);
        let tail = match last.and_then(|(number, end)| Some((self.set.files().get(number)?, end))) {
            Some((file, end)) => Tail::at(file, end, full_from),
            None => Tail::at(self.create(table)?, 0, full_from),
        };
        self.tails.insert(table.to_owned(), tail);
        Ok(())
    }

    /// The newest file of a table, while it has room.
    fn last_of(&self, table: &str, full_from: u64) -> Option<(u64, u64)> {
        let mut newest = self.extents.iter().rev();
        let (number, extent) = newest.find(|(_, extent)| extent.table == table)?;
        let has_room = extent.end < full_from && self.leaving != Some(*number);
        has_room.then_some((*number, extent.end))
    }

    fn create(&mut self, table: &str) -> Result<Arc<ValueFile>, Fault> {
        let file = self.set.create()?;
        self.created.insert(file.number);
        let extent = Extent {
            live: 0,
            end: 0,
            table: table.to_owned(),
        };
        self.extents.insert(file.number, extent);
        Ok(file)
    }

    /// A row points to a value from now on.
    pub(in crate::checkpoint) fn is_wanted(
        &mut self,
        pointer: &Pointer,
    ) -> Result<(), redb::Error> {
        let extent = self.extent(pointer)?;
        extent.live += weight(pointer);
        Ok(())
    }

    /// No row points to a value any more.
    pub(in crate::checkpoint) fn is_unwanted(
        &mut self,
        pointer: &Pointer,
    ) -> Result<(), redb::Error> {
        let extent = self.extent(pointer)?;
        let live = extent.live.checked_sub(weight(pointer));
        extent.live = live.ok_or_else(|| {
            let why = format!(
                "value file {} has fewer bytes than are wanted of it",
                pointer.file
            );
            redb::Error::Corrupted(why)
        })?;
        Ok(())
    }

    fn extent(&mut self, pointer: &Pointer) -> Result<&mut Extent, redb::Error> {
        let why = || {
            format!(
                "a row points to value file {}, of which it knows nothing",
                pointer.file
            )
        };
        let extent = self.extents.get_mut(&pointer.file);
        extent.ok_or_else(|| redb::Error::Corrupted(why()))
    }

    /// Makes all values durable, with the names of their files. Behind that a commit may point to them.
    pub(in crate::checkpoint) fn sync(&mut self) -> Result<(), Fault> {
        for tail in self.tails.values_mut() {
            tail.finish()?;
        }
        match self.created.is_empty() {
            true => Ok(()),
            false => self.set.sync_names(),
        }
    }

    /// Writes what is to be known of the files from the commit on.
    pub(in crate::checkpoint) fn write_extents(
        &mut self,
        transaction: &WriteTransaction,
    ) -> Result<(), redb::Error> {
        self.extents.retain(|_, extent| extent.live > 0);
        write_changed(transaction, &self.before, &self.extents)
    }

    /// The commit is about to be made. From here on what it may point to stays, whatever comes of it, until it is known
    /// that it does not count.
    pub(in crate::checkpoint) const fn may_count(&mut self) {
        self.is_settled = true;
    }

    /// The commit counts.
    pub(in crate::checkpoint) fn commit(mut self) {
        self.set.commit(std::mem::take(&mut self.extents));
    }

    /// Removes what this change made, and cuts what it lengthened.
    pub(in crate::checkpoint) fn take_back(&self) {
        let created: Vec<u64> = self.created.iter().copied().collect();
        self.set.take_back(&created);
        let files = self.set.files();
        for (number, extent) in self.before.as_ref() {
            let grown = self
                .extents
                .get(number)
                .is_none_or(|now| now.end > extent.end);
            if let Some(file) = files.get(*number).filter(|_| grown) {
                file.cut(extent.end);
            }
        }
    }
}

/// What a value counts for in its file. One without bytes is wanted too.
fn weight(pointer: &Pointer) -> u64 {
    pointer.length.max(1).into()
}
