//! The bytes of a segment. Numbers are little-endian; offsets count from the start of the file.
//!
//! ```text
//! segment  header (48 bytes, in a block of 4096), then frames, then zeros up to its length
//! header   magic 8 | format 4 | reserved 4 | segment number 8 | first sequence 8 | reserved 12 | checksum 4
//! frame    header 32, then records; zeros up to a multiple of 8
//!          magic 4 | bytes of records 4 | sequence 8 | synced 8 | number of records 4 | checksum 4
//! record   checksum 4 | bytes of content 4 | group 4 | kind 1 | zeros 3 | index 8 | content
//! ```
//!
//! A *frame* is what was written at once and covered by one sync. Frames are numbered without gaps, over all
//! segments. `synced` says: when this frame was written, all frames up to that number were known to be on the disk.
//! It is what tells, after a crash, a frame that never was acknowledged from one that was and has rotted; see
//! `recover`. A frame without records is a *seal*: it carries nothing but that statement.
//!
//! The checksums of frame headers and records also cover the segment's number and their own offset, so that a write
//! that landed in the wrong place, or content that happens to look like a frame, is not taken for one.

use bytes::{BufMut, Bytes};
use leasehold_types::GroupId;

/// The format of the log that this version writes, and the newest that it reads.
pub const LOG_FORMAT: u32 = 1;

/// The header has a block for itself, so that no later write touches its sector.
pub(crate) const SEGMENT_HEAD: u64 = 4096;
/// Bytes of the header in use.
pub(crate) const SEGMENT_HEAD_USED: usize = 48;
pub(crate) const FRAME_HEAD: usize = 32;
pub(crate) const RECORD_HEAD: usize = 24;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"LEASELOG";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"LFRM");

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The entry at an index.
    Entry,
    /// All entries from an index on are dropped.
    Truncate,
    /// All entries up to and including an index are dropped; the content is the mark.
    Purge,
    /// The vote.
    Vote,
    /// How far the group is known to be committed.
    Committed,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::Truncate => 2,
            Self::Purge => 3,
            Self::Vote => 4,
            Self::Committed => 5,
        }
    }

    const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Entry),
            2 => Some(Self::Truncate),
            3 => Some(Self::Purge),
            4 => Some(Self::Vote),
            5 => Some(Self::Committed),
            _ => None,
        }
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) group: GroupId,
    pub(crate) kind: Kind,
    /// The index that [`Kind`] speaks of; 0 where it speaks of none.
    pub(crate) index: u64,
}

/// One record, apart from where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) content: Bytes,
}

impl Record {
    /// Bytes that it takes in a frame.
    pub(crate) fn size(&self) -> usize {
        RECORD_HEAD + self.content.len()
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Offset of the record's head.
    pub(crate) offset: u32,
    /// Bytes of content.
    pub(crate) length: u32,
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) number: u64,
    /// Sequence of the first frame that was, or will be, written to it.
    pub(crate) first_sequence: u64,
}

/// What the first block of a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstBlock {
    Head(SegmentHead),
    /// A whole header of a format that this version does not know.
    Newer(u32),
    /// Zeros, too few bytes, or damage.
    None,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) sequence: u64,
    /// All frames up to this number were on the disk when this one was written.
    pub(crate) synced: u64,
    /// Bytes of its records, without the zeros after them.
    pub(crate) body: u32,
    pub(crate) records: u32,
}

impl FrameHead {
    /// Bytes from the start of this frame to the start of the next.
    pub(crate) fn span(&self) -> u64 {
        frame_span(u64::from(self.body))
    }
}

/// Bytes that a frame takes whose records take `body`.
pub(crate) const fn frame_span(body: u64) -> u64 {
    (FRAME_HEAD as u64 + body).next_multiple_of(FRAME_ALIGN as u64)
}

fn checksum(place: (u64, u64), bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.0.to_le_bytes());
    hasher.update(&place.1.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub(crate) fn encode_segment_head(head: SegmentHead) -> [u8; SEGMENT_HEAD_USED] {
    let mut bytes = [0; SEGMENT_HEAD_USED];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&LOG_FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.number.to_le_bytes());
    bytes[24..32].copy_from_slice(&head.first_sequence.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..44]);
    bytes[44..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads the start of a file. The checksum's place is the same in every format, so that a newer one is told from
/// damage.
pub(crate) fn decode_first_block(bytes: &[u8]) -> FirstBlock {
    if bytes.len() < SEGMENT_HEAD_USED
        || bytes[..8] != SEGMENT_MAGIC
        || number(bytes, 44) != crc32fast::hash(&bytes[..44])
    {
        return FirstBlock::None;
    }
    match number(bytes, 8) {
        LOG_FORMAT => FirstBlock::Head(SegmentHead {
            number: long(bytes, 16),
            first_sequence: long(bytes, 24),
        }),
        newer => FirstBlock::Newer(newer),
    }
}

pub(crate) fn encode_frame_head(head: FrameHead, segment: u64, offset: u64) -> [u8; FRAME_HEAD] {
    let mut bytes = [0; FRAME_HEAD];
    bytes[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&head.body.to_le_bytes());
    bytes[8..16].copy_from_slice(&head.sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.synced.to_le_bytes());
    bytes[24..28].copy_from_slice(&head.records.to_le_bytes());
    let sum = checksum((segment, offset), &bytes[..28]);
    bytes[28..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The frame header at the start of `bytes`, which stand at `offset` of a segment; `None` when there is none.
pub(crate) fn decode_frame_head(bytes: &[u8], segment: u64, offset: u64) -> Option<FrameHead> {
    let bytes = bytes.get(..FRAME_HEAD)?;
    if number(bytes, 0) != FRAME_MAGIC
        || number(bytes, 28) != checksum((segment, offset), &bytes[..28])
    {
        return None;
    }
    Some(FrameHead {
        body: number(bytes, 4),
        sequence: long(bytes, 8),
        synced: long(bytes, 16),
        records: number(bytes, 24),
    })
}

/// Adds a record to a frame, at `offset` of a segment.
pub(crate) fn encode_record(frame: &mut Vec<u8>, record: &Record, place: Place) {
    let start = frame.len();
    frame.put_u32_le(0);
    frame.put_u32_le(place.length);
    frame.put_u32_le(record.key.group.get());
    frame.put_u8(record.key.kind.code());
    frame.put_bytes(0, 3);
    frame.put_u64_le(record.key.index);
    frame.extend_from_slice(&record.content);
    let sum = checksum(
        (place.segment, u64::from(place.offset)),
        &frame[start + 4..],
    );
    frame[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The record at the start of `bytes`, which stand at `offset` of a segment and end with their frame.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn decode_record(
    bytes: &[u8],
    segment: u64,
    offset: u64,
) -> Result<(Key, &[u8]), &'static str> {
    if bytes.len() < RECORD_HEAD {
        return Err("a record is cut short");
    }
    let length = usize::try_from(number(bytes, 4)).unwrap_or(usize::MAX);
    let content = bytes[RECORD_HEAD..].get(..length);
    let content = content.ok_or("the length of a record does not fit")?;
    let sum = checksum((segment, offset), &bytes[4..RECORD_HEAD + length]);
    if number(bytes, 0) != sum {
        return Err("a record does not match its checksum");
    }
    let key = Key {
        group: GroupId::new(number(bytes, 8)),
        kind: Kind::of_code(bytes[12]).ok_or("a record is of an unknown kind")?,
        index: long(bytes, 16),
    };
    Ok((key, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            key: Key {
                group: GroupId::new(3),
                kind: Kind::Entry,
                index: 7,
            },
            content: Bytes::from_static(b"content"),
        }
    }

    const PLACE: Place = Place {
        segment: 2,
        offset: 4128,
        length: 7,
    };

    fn encoded() -> Vec<u8> {
        let mut frame = Vec::new();
        encode_record(&mut frame, &record(), PLACE);
        frame
    }

    #[test]
    fn record_comes_back_only_from_its_own_place() {
        let bytes = encoded();
        assert_eq!(bytes.len(), record().size());
        let expected = (record().key, record().content.as_ref().to_vec());
        let (key, content) = decode_record(&bytes, 2, 4128).unwrap();
        assert_eq!((key, content.to_vec()), expected);
        assert!(decode_record(&bytes, 2, 4136).is_err());
        assert!(decode_record(&bytes, 3, 4128).is_err());
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_noticed() {
        for bit in 0..encoded().len() * 8 {
            let mut bytes = encoded();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&bytes, 2, 4128).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn frame_head_comes_back_only_from_its_own_place() {
        let head = FrameHead {
            sequence: 9,
            synced: 8,
            body: 31,
            records: 1,
        };
        let bytes = encode_frame_head(head, 2, 4096);
        assert_eq!(decode_frame_head(&bytes, 2, 4096), Some(head));
        assert_eq!(decode_frame_head(&bytes, 2, 4104), None);
        assert_eq!(decode_frame_head(&[0; FRAME_HEAD], 2, 4096), None);
        assert_eq!(head.span(), 64);
    }

    #[test]
    fn segment_head_of_a_newer_format_is_told_from_damage() {
        let head = SegmentHead {
            number: 5,
            first_sequence: 77,
        };
        let mut bytes = encode_segment_head(head);
        assert_eq!(decode_first_block(&bytes), FirstBlock::Head(head));
        bytes[8] = 2;
        assert_eq!(decode_first_block(&bytes), FirstBlock::None);
        let sum = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(decode_first_block(&bytes), FirstBlock::Newer(2));
    }
}
