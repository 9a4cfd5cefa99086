//! The checksums of a checkpoint's blocks: read when first needed, kept while there is room, written before a sync.
//!
//! A block's checksum covers the group and the block's place too, so that one block never passes for another. 0 stands
//! for a block that was never written; a checksum that comes out as 0 is kept as 1.
//!
//! A crash may leave any sectors of a block of checksums new and the others old. That does no harm: those of blocks
//! that belong to a commit are written again as they were, since redb never writes over such a block, and those of
//! other blocks are not read before they are written anew.

use std::collections::BTreeMap;
use std::io;

use leasehold_types::GroupId;

use super::layout::{self, BLOCK, RUN};
use crate::disk::{DiskFile, read_exact_at};

/// Runs whose checksums are kept in memory beyond those that are changed, 4 KiB each: a file of 4 GiB.
const KEPT_MAX: usize = 1024;

/// Checksums in memory, by run.
pub(super) struct Sums {
    group: GroupId,
    runs: BTreeMap<u64, Run>,
    kept_max: usize,
}

struct Run {
    sums: Box<[u8; BLOCK as usize]>,
    is_changed: bool,
}

const fn place(block: u64) -> std::ops::Range<usize> {
    // Smaller than a block, hence it fits.
    #[allow(clippy::cast_possible_truncation)]
    let at = (block % RUN) as usize * 4;
    at..at + 4
}

impl Sums {
    pub(super) const fn new(group: GroupId) -> Self {
        Self {
            group,
            runs: BTreeMap::new(),
            kept_max: KEPT_MAX,
        }
    }

    /// What a block of these bytes has for a checksum at this place.
    pub(super) fn of(group: GroupId, block: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&group.get().to_le_bytes());
        hasher.update(&block.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize().max(1)
    }

    /// The checksum kept for a block; 0 for one that was never written.
    pub(super) fn get(&mut self, file: &dyn DiskFile, block: u64) -> io::Result<u32> {
        let run = self.run(file, block / RUN)?;
        let sum = &run.sums[place(block)];
        Ok(u32::from_le_bytes(sum.try_into().expect("4 bytes")))
    }

    /// Keeps the checksum of a block that is written.
    pub(super) fn set(&mut self, file: &dyn DiskFile, block: u64, bytes: &[u8]) -> io::Result<()> {
        let sum = Self::of(self.group, block, bytes);
        let run = self.run(file, block / RUN)?;
        run.sums[place(block)].copy_from_slice(&sum.to_le_bytes());
        run.is_changed = true;
        Ok(())
    }

    /// Forgets the blocks from this one on: the file is cut there.
    pub(super) fn cut(&mut self, file: &dyn DiskFile, blocks: u64) -> io::Result<()> {
        let _ = self.runs.split_off(&blocks.div_ceil(RUN));
        if blocks.is_multiple_of(RUN) {
            return Ok(());
        }
        let run = self.run(file, blocks / RUN)?;
        run.sums[place(blocks).start..].fill(0);
        run.is_changed = true;
        Ok(())
    }

    /// Writes what changed, on the way to a sync.
    pub(super) fn write(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        for (run, kept) in self.runs.iter_mut().filter(|(_, kept)| kept.is_changed) {
            file.write_at(layout::sums(*run), kept.sums.as_slice())?;
            kept.is_changed = false;
        }
        Ok(())
    }

    fn run(&mut self, file: &dyn DiskFile, run: u64) -> io::Result<&mut Run> {
        if !self.runs.contains_key(&run) {
            self.make_room();
            let mut sums = Box::new([0; BLOCK as usize]);
            read_exact_at(file, layout::sums(run), sums.as_mut_slice())?;
            let is_changed = false;
            let _ = self.runs.insert(run, Run { sums, is_changed });
        }
        Ok(self.runs.get_mut(&run).expect("it was put there"))
    }

    /// Unchanged runs can be read again: when there are too many, all of them go.
    fn make_room(&mut self) {
        if self.runs.len() >= self.kept_max {
            self.runs.retain(|_, run| run.is_changed);
        }
    }
}
