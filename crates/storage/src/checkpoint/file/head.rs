//! The two small things in a checkpoint's file that are no blocks of content: its own head, and redb's header.
//!
//! The head says what the file is: magic (8), format (4), group (4), checksum (4). It is written once, before the
//! file has its name.
//!
//! redb's header is the one place that is written over while it is in use: it names the commit that counts. Its
//! checksum therefore cannot lie in another sector, or a crash between the two would make a good file unreadable. Both
//! are one sector of 512 bytes, which lands whole or not at all: header (508), checksum (4). That it has one of its
//! own is needed although redb checks both of its commits: the bit that says which of them counts has no checksum.
//!
//! Numbers are little-endian.

use leasehold_types::GroupId;

/// The format that this version writes, and the newest that it reads.
pub const CHECKPOINT_FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"LEASECKP";
/// Length of a file's own head.
pub(super) const HEAD: usize = 20;
/// What a disk writes as one.
pub(super) const SECTOR: usize = 512;
/// The longest header of redb that fits beside its checksum.
pub(super) const HEADER_MAX: usize = SECTOR - 4;

/// What is wrong with a file's own head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// It is no head, or not what was written.
    Damaged,
    /// A later version wrote it.
    Newer { found: u32 },
    /// It was another group's.
    OtherGroup,
}

pub(super) fn encode_head(group: GroupId, format: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&format.to_le_bytes());
    head[12..16].copy_from_slice(&group.get().to_le_bytes());
    let checksum = crc32fast::hash(&head[..16]);
    head[16..].copy_from_slice(&checksum.to_le_bytes());
    head
}

pub(super) fn check_head(head: &[u8; HEAD], group: GroupId) -> Result<(), HeadError> {
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    if head[..8] != MAGIC || number(16) != crc32fast::hash(&head[..16]) {
        return Err(HeadError::Damaged);
    }
    if number(8) > CHECKPOINT_FORMAT {
        return Err(HeadError::Newer { found: number(8) });
    }
    if number(12) != group.get() {
        return Err(HeadError::OtherGroup);
    }
    Ok(())
}

/// The sector that holds redb's header; `None` for one that does not fit.
pub(super) fn encode_header(group: GroupId, header: &[u8]) -> Option<[u8; SECTOR]> {
    let mut sector = [0; SECTOR];
    sector[..HEADER_MAX]
        .get_mut(..header.len())?
        .copy_from_slice(header);
    let checksum = header_checksum(group, &sector);
    sector[HEADER_MAX..].copy_from_slice(&checksum.to_le_bytes());
    Some(sector)
}

/// Whether a sector holds a header that was written for this group.
pub(super) fn is_header(group: GroupId, sector: &[u8; SECTOR]) -> bool {
    sector[HEADER_MAX..] == header_checksum(group, sector).to_le_bytes()
}

fn header_checksum(group: GroupId, sector: &[u8; SECTOR]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.get().to_le_bytes());
    hasher.update(&sector[..HEADER_MAX]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_of_another_format_group_or_kind_is_told_apart() {
        let group = GroupId::new(3);
        let head = encode_head(group, CHECKPOINT_FORMAT);
        assert_eq!(check_head(&head, group), Ok(()));
        let other = check_head(&head, GroupId::new(4));
        assert_eq!(other, Err(HeadError::OtherGroup));
        let newer = check_head(&encode_head(group, 7), group);
        assert_eq!(newer, Err(HeadError::Newer { found: 7 }));
    }

    #[test]
    fn any_flipped_bit_of_a_head_or_header_is_seen() {
        let group = GroupId::new(3);
        for bit in 0..HEAD * 8 {
            let mut head = encode_head(group, CHECKPOINT_FORMAT);
            head[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check_head(&head, group), Err(HeadError::Damaged), "{bit}");
        }
        for bit in 0..SECTOR * 8 {
            let mut sector = encode_header(group, &[7; 320]).unwrap();
            assert!(is_header(group, &sector));
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_header(group, &sector), "{bit}");
        }
    }

    #[test]
    fn header_that_does_not_fit_beside_its_checksum_is_refused() {
        let group = GroupId::new(3);
        assert!(encode_header(group, &[1; HEADER_MAX]).is_some());
        assert!(encode_header(group, &[1; HEADER_MAX + 1]).is_none());
    }
}
