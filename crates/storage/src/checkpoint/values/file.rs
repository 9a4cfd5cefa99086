//! One value file.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_types::GroupId;

use super::numbers::name;
use super::pointer::Pointer;
use crate::checkpoint::file::Fault;
use crate::disk::{Disk, DiskFile, OpenMode, read_exact_at};

/// See the module above. Open for as long as anybody may read it.
pub(in crate::checkpoint) struct ValueFile {
    pub(super) number: u64,
    name: Arc<str>,
    file: Box<dyn DiskFile>,
}

impl fmt::Debug for ValueFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ValueFile {
    /// Makes an empty one. Its name is not durable yet.
    pub(super) fn create(disk: &dyn Disk, group: GroupId, number: u64) -> Result<Self, Fault> {
        Self::over(disk, group, number, OpenMode::Create)
    }

    /// Makes it another one, to be written over from its beginning. The new name is not durable yet.
    pub(super) fn renumbered(
        self,
        disk: &dyn Disk,
        group: GroupId,
        number: u64,
    ) -> Result<Self, Fault> {
        let to: Arc<str> = name(group, number).into();
        let renamed = disk.rename(&self.name, &to);
        renamed.map_err(|error| self.failed("rename", error))?;
        Ok(Self {
            number,
            name: to,
            file: self.file,
        })
    }

    /// Opens one that holds values up to an end.
    pub(super) fn open(
        disk: &dyn Disk,
        group: GroupId,
        number: u64,
        end: u64,
    ) -> Result<Self, Fault> {
        let value_file = Self::over(disk, group, number, OpenMode::Existing)?;
        let length = value_file.file.length();
        let length = length.map_err(|error| value_file.failed("read", error))?;
        if length < end {
            return Err(value_file.corrupt(length, "the file ends before its last value"));
        }
        Ok(value_file)
    }

    fn over(disk: &dyn Disk, group: GroupId, number: u64, mode: OpenMode) -> Result<Self, Fault> {
        let name: Arc<str> = name(group, number).into();
        match disk.open(&name, mode) {
            Ok(file) => Ok(Self { number, name, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Fault::corrupt(0, "the file is missing").of(&name))
            }
            Err(error) => Err(Fault::io("open", error).of(&name)),
        }
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_at(offset, bytes);
        written.map_err(|error| self.failed("write", error))
    }

    pub(super) fn sync(&self) -> Result<(), Fault> {
        let synced = self.file.sync();
        synced.map_err(|error| Fault::of_failed_sync(error).of(&self.name))
    }

    /// Gives back the room of what no commit counts. That it cannot be is no harm: it is written over.
    pub(super) fn cut(&self, end: u64) {
        if let Err(error) = self.file.set_length(end) {
            tracing::debug!(file = %self.name, %error, "cannot cut a value file");
        }
    }

    /// The value that a pointer of a commit points to.
    pub(in crate::checkpoint) fn read(&self, pointer: &Pointer) -> Result<Bytes, Fault> {
        let mut value = vec![0; usize::try_from(pointer.length).unwrap_or(usize::MAX)];
        read_exact_at(self.file.as_ref(), pointer.offset, &mut value).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return self.corrupt(pointer.offset, "the file ends within a value");
            }
            self.failed("read", error)
        })?;
        if crc32fast::hash(&value) != pointer.checksum {
            return Err(self.corrupt(pointer.offset, "a value does not match its checksum"));
        }
        Ok(value.into())
    }

    fn corrupt(&self, offset: u64, reason: &'static str) -> Fault {
        Fault::corrupt(offset, reason).of(&self.name)
    }

    fn failed(&self, action: &'static str, error: io::Error) -> Fault {
        Fault::io(action, error).of(&self.name)
    }
}
