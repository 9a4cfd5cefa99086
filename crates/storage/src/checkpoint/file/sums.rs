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

use super::layout::{self, BLOCK_BYTES, RUN};
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
    sums: Box<[u8; BLOCK_BYTES]>,
    /// Blocks that were written through this handle on the file, a bit each.
    written: [u64; WORDS],
    is_changed: bool,
}

/// Words of a bit for each block of a run.
const WORDS: usize = BLOCK_BYTES / 4 / 64;

/// Which of its run a block is.
fn number(block: u64) -> usize {
    usize::try_from(block % RUN).expect("a run is shorter than that")
}

/// Where a block's checksum is among those of its run.
fn place(block: u64) -> std::ops::Range<usize> {
    let at = number(block) * 4;
    at..at + 4
}

impl Run {
    fn sum(&self, block: u64) -> u32 {
        u32::from_le_bytes(self.sums[place(block)].try_into().expect("4 bytes"))
    }

    fn set(&mut self, block: u64, sum: u32) {
        self.sums[place(block)].copy_from_slice(&sum.to_le_bytes());
        self.written[number(block) / 64] |= 1 << (number(block) % 64);
        self.is_changed = true;
    }

    fn is_written(&self, block: u64) -> bool {
        self.written[number(block) / 64] >> (number(block) % 64) & 1 == 1
    }

    /// Forgets the blocks from this one on.
    fn cut(&mut self, block: u64) {
        self.sums[place(block).start..].fill(0);
        let word = number(block) / 64;
        self.written[word] &= (1 << (number(block) % 64)) - 1;
        self.written[word + 1..].fill(0);
        self.is_changed = true;
    }
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
        Ok(self.run(file, block / RUN)?.sum(block))
    }

    /// The checksum of a block that was written through this handle; `None` for others, and for one of which that is
    /// no longer known.
    pub(super) fn of_written(&self, block: u64) -> Option<u32> {
        let run = self.runs.get(&(block / RUN))?;
        run.is_written(block).then(|| run.sum(block))
    }

    /// Keeps the checksum of a block that is written.
    pub(super) fn set(&mut self, file: &dyn DiskFile, block: u64, bytes: &[u8]) -> io::Result<()> {
        let sum = Self::of(self.group, block, bytes);
        self.run(file, block / RUN)?.set(block, sum);
        Ok(())
    }

    /// Forgets the blocks from this one on: the file is cut there.
    pub(super) fn cut(&mut self, file: &dyn DiskFile, blocks: u64) -> io::Result<()> {
        let _ = self.runs.split_off(&blocks.div_ceil(RUN));
        if blocks.is_multiple_of(RUN) {
            return Ok(());
        }
        self.run(file, blocks / RUN)?.cut(blocks);
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
            let mut sums = Box::new([0; BLOCK_BYTES]);
            read_exact_at(file, layout::sums(run), sums.as_mut_slice())?;
            let fresh = Run {
                sums,
                written: [0; WORDS],
                is_changed: false,
            };
            let _ = self.runs.insert(run, fresh);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk as _, MemoryDisk, OpenMode};

    fn file(runs: u64) -> Box<dyn DiskFile> {
        let file = MemoryDisk::new().open("file", OpenMode::Create).unwrap();
        file.set_length(layout::sums(runs)).unwrap();
        file
    }

    fn sums() -> Sums {
        let mut sums = Sums::new(GroupId::new(3));
        sums.kept_max = 2;
        sums
    }

    #[test]
    fn checksums_are_told_whether_they_are_kept_or_read_again() {
        let file = file(8);
        let mut sums = sums();
        let block = |number: u64| number * 397 % (8 * RUN);
        for number in 0..200 {
            let bytes = [u8::try_from(number).unwrap(); 100];
            sums.set(file.as_ref(), block(number), &bytes).unwrap();
            if number % 16 == 0 {
                sums.write(file.as_ref()).unwrap();
            }
        }
        sums.write(file.as_ref()).unwrap();
        for mut sums in [sums, self::sums()] {
            for number in 0..200 {
                let expected = Sums::of(
                    sums.group,
                    block(number),
                    &[u8::try_from(number).unwrap(); 100],
                );
                assert_eq!(sums.get(file.as_ref(), block(number)).unwrap(), expected);
                assert!(sums.runs.len() <= 8);
            }
            assert_eq!(sums.get(file.as_ref(), 1).unwrap(), 0);
        }
    }

    #[test]
    fn unchanged_checksums_make_room_and_changed_ones_stay() {
        let file = file(8);
        let mut sums = sums();
        sums.set(file.as_ref(), 5, b"changed").unwrap();
        for run in 1..8 {
            let _ = sums.get(file.as_ref(), run * RUN).unwrap();
            assert!(sums.runs.len() <= 2);
        }
        let expected = Sums::of(sums.group, 5, b"changed");
        assert_eq!(sums.get(file.as_ref(), 5).unwrap(), expected);
    }

    #[test]
    fn blocks_behind_a_cut_were_never_written() {
        let file = file(3);
        for cut in [0, 1, RUN - 1, RUN, RUN + 1, 2 * RUN] {
            let mut sums = sums();
            let blocks = [0, 1, RUN - 1, RUN, RUN + 1, 2 * RUN, 3 * RUN - 1];
            for block in blocks {
                sums.set(file.as_ref(), block, b"there").unwrap();
            }
            sums.write(file.as_ref()).unwrap();
            sums.cut(file.as_ref(), cut).unwrap();
            file.set_length(layout::file_length(cut * layout::BLOCK))
                .unwrap();
            sums.write(file.as_ref()).unwrap();
            file.set_length(layout::sums(3)).unwrap();
            for block in blocks {
                let is_there = sums.get(file.as_ref(), block).unwrap() != 0;
                assert_eq!(is_there, block < cut, "{block} of {cut}");
                if !is_there {
                    assert_eq!(sums.of_written(block), None, "{block} of {cut}");
                }
            }
        }
    }

    #[test]
    fn only_blocks_written_through_this_handle_are_known_as_such() {
        let file = file(3);
        let mut sums = sums();
        sums.set(file.as_ref(), 7, b"here").unwrap();
        let sum = Sums::of(sums.group, 7, b"here");
        assert_eq!(sums.of_written(7), Some(sum));
        assert_eq!((sums.of_written(6), sums.of_written(8)), (None, None));
        sums.write(file.as_ref()).unwrap();
        let mut later = self::sums();
        assert_eq!(later.get(file.as_ref(), 7).unwrap(), sum);
        assert_eq!(later.of_written(7), None, "an earlier process wrote it");
    }

    #[test]
    fn same_bytes_have_another_checksum_in_another_place_or_group() {
        let (one, two) = (GroupId::new(1), GroupId::new(2));
        let sum = Sums::of(one, 7, b"bytes");
        assert_ne!(sum, Sums::of(one, 8, b"bytes"));
        assert_ne!(sum, Sums::of(two, 7, b"bytes"));
    }
}
