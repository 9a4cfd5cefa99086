//! Where the blocks of a checkpoint lie in its file.
//!
//! The file is cut into blocks of 4 KiB. Block 0 is the file's own head. After it come runs of 1025: one block of
//! checksums, 4 bytes for each of the 1024 blocks of content that follow it. What redb calls the storage is the
//! content alone, without gaps.

/// Bytes of a block, and of a page of redb.
pub(super) const BLOCK_BYTES: usize = 4096;
/// The same, for offsets.
pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
/// Blocks of content behind one block of checksums.
pub(super) const RUN: u64 = 1024;

/// Where a block of content lies.
pub(super) const fn content(block: u64) -> u64 {
    let run = block / RUN;
    BLOCK * (1 + run * (RUN + 1) + 1 + block % RUN)
}

/// Where the checksums of a run lie.
pub(super) const fn sums(run: u64) -> u64 {
    BLOCK * (1 + run * (RUN + 1))
}

/// Length of a file with this many bytes of content, rounded up to whole blocks.
pub(super) const fn file_length(content: u64) -> u64 {
    let blocks = content.div_ceil(BLOCK);
    BLOCK * (1 + blocks + blocks.div_ceil(RUN))
}

/// Bytes of content in a file of this length; `None` for one that no content gives.
pub(super) const fn content_length(file: u64) -> Option<u64> {
    if file < BLOCK || !file.is_multiple_of(BLOCK) {
        return None;
    }
    let blocks = file / BLOCK - 1;
    if blocks % (RUN + 1) == 1 {
        return None;
    }
    Some(BLOCK * (blocks - blocks.div_ceil(RUN + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_one_behind_the_other_with_their_checksums_between() {
        let mut next = BLOCK;
        for block in 0..3 * RUN {
            if block % RUN == 0 {
                assert_eq!(sums(block / RUN), next);
                next += BLOCK;
            }
            assert_eq!(content(block), next);
            next += BLOCK;
            assert_eq!(file_length((block + 1) * BLOCK), next);
        }
    }

    #[test]
    fn length_of_content_and_of_file_give_each_other() {
        for blocks in 0..3 * RUN {
            let length = blocks * BLOCK;
            assert_eq!(content_length(file_length(length)), Some(length));
        }
        for file in [0, 1, BLOCK - 1, BLOCK + 1, 2 * BLOCK, (RUN + 3) * BLOCK] {
            assert_eq!(content_length(file), None, "{file}");
        }
    }
}
