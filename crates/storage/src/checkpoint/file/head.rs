//! The two small things in a checkpoint's file that are no blocks of content: its own head, and redb's header.
//!
//! The head says what the file is: magic (8), format (4), group (4), checksum (4). It is written before the file has its
//! name, and again when a later version first opens it.
//!
//! redb's header is the one place that is written over while it is in use: it names the commit that counts. Its
//! checksum therefore cannot lie in another sector, or a crash between the two would make a good file unreadable. Both
//! are one sector of 512 bytes, which lands whole or not at all: header (500), content (8), checksum (4). That it has
//! one of its own is needed although redb checks both of its commits: the bit that says which of them counts has no
//! checksum. The content is how many bytes of it there are at least, so that a file that was cut is told at once.
//!
//! Numbers are little-endian.

use leasehold_types::GroupId;

/// The format that this version writes, and the newest that it reads. Since 2 there may be values in files of their own,
/// which a version that knows only 1 would not miss.
pub const CHECKPOINT_FORMAT: u32 = 2;
const MAGIC: [u8; 8] = *b"LEASECKP";
/// Length of a file's own head.
pub(super) const HEAD: usize = 20;
/// What a disk writes as one.
pub(super) const SECTOR: usize = 512;
/// The longest header of redb that fits.
const HEADER_MAX: usize = SECTOR - 12;
/// The byte of redb's header whose lowest bit says which of its two commits counts.
const COUNTING: usize = 9;
const CHECKSUM: usize = SECTOR - 4;

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

/// The format of a file that is this group's.
pub(super) fn check_head(head: &[u8; HEAD], group: GroupId) -> Result<u32, HeadError> {
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
    Ok(number(8))
}

/// redb's header, and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    bytes: [u8; HEADER_MAX],
    /// How many bytes of content there are at least.
    pub(super) content: u64,
}

impl Header {
    /// None when the header does not fit.
    pub(super) fn new(header: &[u8], content: u64) -> Option<Self> {
        let mut bytes = [0; HEADER_MAX];
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        Some(Self { bytes, content })
    }

    /// The first bytes of redb's header; `None` when it has not as many.
    pub(super) fn bytes(&self, length: usize) -> Option<&[u8]> {
        self.bytes.get(..length)
    }

    /// Which of redb's two commits counts. Each commit takes the place of the one that does not, and turns this.
    pub(super) const fn counting(&self) -> bool {
        self.bytes[COUNTING] & 1 == 1
    }

    /// The sector of a group's file.
    pub(super) fn encode(&self, group: GroupId) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..HEADER_MAX].copy_from_slice(&self.bytes);
        sector[HEADER_MAX..CHECKSUM].copy_from_slice(&self.content.to_le_bytes());
        let checksum = sector_checksum(group, &sector);
        sector[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        sector
    }

    /// None when the sector is not what was written for this group.
    pub(super) fn decode(group: GroupId, sector: &[u8; SECTOR]) -> Option<Self> {
        if sector[CHECKSUM..] != sector_checksum(group, sector).to_le_bytes() {
            return None;
        }
        let content = &sector[HEADER_MAX..CHECKSUM];
        let content = u64::from_le_bytes(content.try_into().expect("8 bytes"));
        Self::new(&sector[..HEADER_MAX], content)
    }
}

fn sector_checksum(group: GroupId, sector: &[u8; SECTOR]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.get().to_le_bytes());
    hasher.update(&sector[..CHECKSUM]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_of_another_format_group_or_kind_is_told_apart() {
        let group = GroupId::new(3);
        let head = encode_head(group, CHECKPOINT_FORMAT);
        assert_eq!(check_head(&head, group), Ok(CHECKPOINT_FORMAT));
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
            let header = Header::new(&[7; 320], 4096).unwrap();
            let mut sector = header.encode(group);
            assert_eq!(Header::decode(group, &sector), Some(header));
            sector[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(group, &sector), None, "{bit}");
        }
    }

    #[test]
    fn header_that_does_not_fit_beside_its_checksum_is_refused() {
        assert!(Header::new(&[1; HEADER_MAX], 0).is_some());
        assert!(Header::new(&[1; HEADER_MAX + 1], 0).is_none());
    }
}
