//! An open file of a crashing disk.

use std::io;
use std::sync::Arc;

use leasehold_storage::DiskFile;

use super::Shared;
use super::cell::Cell;
use crate::points::{Deed, Operation};

/// A handle; every handle of one file shares its [`Cell`].
pub(super) struct CrashingFile {
    disk: Arc<Shared>,
    cell: Arc<Cell>,
}

impl CrashingFile {
    pub(super) const fn new(disk: Arc<Shared>, cell: Arc<Cell>) -> Self {
        Self { disk, cell }
    }

    fn perform<T>(
        &self,
        operation: Operation,
        act: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let name = self.cell.name();
        let deed = Deed {
            acts: &[(operation, &*name)],
            is_new: self.disk.names().is_new(&name),
        };
        self.disk.perform(&deed, act, half)
    }
}

impl DiskFile for CrashingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let act = || self.cell.write_at(offset, bytes);
        let half = || self.cell.write_at(offset, &bytes[..bytes.len() / 2]);
        self.perform(Operation::Write, act, half)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let act = || self.cell.file().read_at(offset, buf);
        self.perform(Operation::Read, act, || Ok(()))
    }

    fn sync(&self) -> io::Result<()> {
        self.perform(Operation::Sync, || self.cell.sync(), || Ok(()))
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.gated(|| self.cell.file().length())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let act = || self.cell.set_length(length);
        self.perform(Operation::SetLength, act, || Ok(()))
    }
}
