//! Gathering values that outlived their neighbours.
//!
//! A value file goes when nothing in it is wanted. Queues are mostly worked off in order, so most files go by themselves;
//! a job that waits for a day among others that wait for seconds would keep 64 MiB. So while most of all values is not
//! wanted, the file with least that is gives that to the end of the newest one. It is what other logs of values call
//! garbage collection; here the tree knows what is wanted, so the file itself is not searched.

use redb::ReadableTable as _;

use super::batch::Batch;
use super::database::Definition;
use super::error::CheckpointError;
use super::handle::Checkpoint;
use super::pointers;
use super::values::Pointer;

impl Checkpoint {
    /// Moves what is wanted out of the value file with least of it, if most of all value files is not wanted any more, so
    /// that it can go; says whether it did. One call moves half a file at most, and none while the disk has not several
    /// times the room for it.
    ///
    /// # Errors
    /// As of [`Checkpoint::begin`] and [`Writing::commit`](super::Writing::commit).
    pub fn gather_if_worth(&self) -> Result<bool, CheckpointError> {
        let (_turn, database) = match self.shared.take_turn() {
            Err(CheckpointError::Busy { .. }) => return Ok(false),
            turn => turn?,
        };
        if !database.values().is_worth_gathering() {
            return Ok(false);
        }
        let mut batch = Batch::new(database, self.shared.options.sync_every)?;
        batch.gather()?;
        batch.commit_as_it_was()?;
        Ok(true)
    }
}

impl Batch {
    /// Moves the values of the file that is worth it, if any is, to where others are.
    fn gather(&mut self) -> Result<(), CheckpointError> {
        let Some((file, table)) = self.values.leave_sparsest() else {
            return Ok(());
        };
        let pointers = pointers(&table);
        let rows = self
            .rows_of(&pointers, file)
            .map_err(self.database.failed("read"))?;
        let files = self.database.values().files();
        for (key, pointer) in rows {
            let value = files
                .read(&pointer)
                .map_err(|fault| self.database.spoilt(fault))?;
            let moved = self.append(&table, &value)?;
            self.repoint(&pointers, &key, pointer, moved)
                .map_err(self.database.failed("write"))?;
        }
        Ok(())
    }

    /// The rows that point into a file.
    fn rows_of(&self, pointers: &str, file: u64) -> Result<Vec<(Vec<u8>, Pointer)>, redb::Error> {
        let rows = self.transaction.open_table(Definition::new(pointers))?;
        let mut found = Vec::new();
        for row in rows.range::<&[u8]>(..)? {
            let (key, pointer) = row?;
            let pointer = Pointer::decode(pointer.value())?;
            if pointer.file == file {
                found.push((key.value().to_vec(), pointer));
            }
        }
        Ok(found)
    }

    fn repoint(
        &mut self,
        pointers: &str,
        key: &[u8],
        from: Pointer,
        to: Pointer,
    ) -> Result<(), redb::Error> {
        let mut rows = self.transaction.open_table(Definition::new(pointers))?;
        let _ = rows.insert(key, to.encode().as_slice())?;
        self.values.is_unwanted(&from)?;
        self.values.is_wanted(&to)
    }
}
