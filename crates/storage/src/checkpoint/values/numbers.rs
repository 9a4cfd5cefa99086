//! The numbers of value files.

use std::io;
use std::sync::{Mutex, PoisonError};

use leasehold_types::GroupId;

use crate::checkpoint::file::{Fault, FirstFault};
use crate::disk::Disk;

const INFIX: &str = ".values-";

/// The name of a value file of a group whose file has a name without suffix.
pub(super) fn name(group: GroupId, number: u64) -> String {
    format!("checkpoint-{group}{INFIX}{number}")
}

/// The number of a value file, and of which group it is, if a name is that of one.
fn parse(name: &str) -> Option<(&str, u64)> {
    let (group, number) = name.strip_prefix("checkpoint-")?.split_once(INFIX)?;
    Some((group, number.parse().ok()?))
}

/// Gives out numbers, each once: a group's checkpoint and one that is being received for it must not meet. All groups of
/// a folder share it, as they share the folder.
#[derive(Default)]
pub(in crate::checkpoint) struct Numbers {
    last: Mutex<u64>,
    /// A sync of the folder that failed.
    failed: FirstFault,
}

impl Numbers {
    /// A number that no file on the disk has, and none that was asked for had.
    pub(super) fn next(&self, disk: &dyn Disk) -> io::Result<u64> {
        // What is held under it is one number.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let names = disk.list()?;
        let taken = names.iter().filter_map(|name| Some(parse(name)?.1)).max();
        *last = taken.unwrap_or(0).max(*last) + 1;
        Ok(*last)
    }

    /// Makes names durable. After a failure never again: the system tells one caller of it, and the names of all may be
    /// lost.
    pub(super) fn sync_names(&self, disk: &dyn Disk) -> Result<(), Fault> {
        if let Some(fault) = self.failed.get() {
            return Err(fault);
        }
        let synced = disk.sync_folder().map_err(Fault::of_failed_sync);
        synced.map_err(|fault| self.failed.put(fault).clone())
    }
}

/// The numbers of the value files of a group that are on the disk.
pub(in crate::checkpoint) fn on_disk(disk: &dyn Disk, group: GroupId) -> io::Result<Vec<u64>> {
    let group = group.to_string();
    let numbers = disk.list()?.into_iter().filter_map(|name| {
        let (owner, number) = parse(&name)?;
        (owner == group).then_some(number)
    });
    Ok(numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{MemoryDisk, OpenMode};

    #[test]
    fn number_is_given_once_whatever_is_on_the_disk_by_then() {
        let (disk, numbers) = (MemoryDisk::new(), Numbers::default());
        let (mine, other) = (GroupId::new(3), GroupId::new(30));
        assert_eq!(numbers.next(&disk).unwrap(), 1);
        assert_eq!(numbers.next(&disk).unwrap(), 2);
        for (group, number) in [(mine, 7), (other, 9)] {
            drop(disk.open(&name(group, number), OpenMode::Create).unwrap());
        }
        assert_eq!(numbers.next(&disk).unwrap(), 10);
        disk.remove(&name(other, 9)).unwrap();
        assert_eq!(numbers.next(&disk).unwrap(), 11);
        assert_eq!(on_disk(&disk, mine).unwrap(), [7]);
    }

    #[test]
    fn other_files_are_not_taken_for_value_files() {
        for name in [
            "checkpoint-g3",
            "checkpoint-g3.values-",
            "checkpoint-g3.values-x",
            "g3.values-1",
        ] {
            assert_eq!(parse(name), None);
        }
    }
}
