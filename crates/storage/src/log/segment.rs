//! The segments as files: their names, and how one is made and read back.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use leasehold_types::GroupId;

use super::error::DamagedEntry;
use super::format::{
    Key, Kind, Place, RECORD_HEAD, SEGMENT_HEAD, SegmentHead, decode_record, encode_segment_head,
};
use crate::disk::{Disk, DiskFile, OpenMode, read_exact_at};

/// Bytes of zeros written at once. More, and the page cache takes a segment in large folios, each of which every small write
/// and sync then walks block by block: with 1 MiB that is 40 us of a write on a cold processor.
const FILL_BYTES: usize = 64 * 1024;
/// How much of what is filled waits for the disk at most.
const UNSYNCED_MAX: u64 = 4 * 1024 * 1024;

pub(crate) fn file_name(number: u64) -> String {
    format!("log-{number:010}.seg")
}

/// The number in a segment's file name; `None` for other names.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Makes a segment of zeros, durable with its name. Without `fill` it is made empty and grows as it is written.
pub(crate) fn create(
    disk: &dyn Disk,
    number: u64,
    fill: Option<u64>,
) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(&file_name(number), OpenMode::Create)?;
    zero_fill(file.as_ref(), fill.unwrap_or(0))?;
    file.sync()?;
    disk.sync_folder()?;
    Ok(file.into())
}

/// Writes real zeros: blocks that were only set aside would cost a journal commit when they are first written.
///
/// SUBTLE: a sync of the segment in use may have to wait for all new blocks of the file system, these among them, so on
/// a slow disk they must not pile up.
fn zero_fill(file: &dyn DiskFile, length: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(length).unwrap_or(FILL_BYTES))];
    let mut offset = 0;
    while offset < length {
        let count = (length - offset).min(zeros.len() as u64);
        file.write_at(
            offset,
            &zeros[..usize::try_from(count).unwrap_or(zeros.len())],
        )?;
        offset += count;
        if offset % UNSYNCED_MAX == 0 {
            file.sync()?;
        }
    }
    Ok(())
}

/// Writes a segment's header, which makes it the one in use. Not synced.
pub(crate) fn write_head(file: &dyn DiskFile, head: SegmentHead) -> io::Result<()> {
    let mut block = vec![0; usize::try_from(SEGMENT_HEAD).expect("a block fits into memory")];
    let head = encode_segment_head(head);
    block[..head.len()].copy_from_slice(&head);
    file.write_at(0, &block)
}

/// Reads an entry back, and makes sure that it is the one asked for.
pub(crate) fn read_entry(
    file: &dyn DiskFile,
    place: Place,
    group: GroupId,
    index: u64,
) -> io::Result<Bytes> {
    let length = usize::try_from(place.length).map_err(io::Error::other)?;
    let mut bytes = BytesMut::zeroed(RECORD_HEAD + length);
    read_exact_at(file, u64::from(place.offset), &mut bytes)?;
    let damaged = |reason| DamagedEntry {
        file: file_name(place.segment),
        offset: place.offset,
        reason,
    };
    let (key, content) =
        decode_record(&bytes, place.segment, u64::from(place.offset)).map_err(damaged)?;
    let kind = Kind::Entry;
    if key != (Key { group, kind, index }) || content.len() != length {
        return Err(damaged("it is another entry").into());
    }
    Ok(bytes.freeze().slice(RECORD_HEAD..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_that_a_number_gives_is_a_segment() {
        assert_eq!(file_name(7), "log-0000000007.seg");
        assert_eq!(number_of("log-0000000007.seg"), Some(7));
        assert_eq!(number_of(&file_name(u64::MAX)), Some(u64::MAX));
        for name in [
            "log-7.seg",
            "log-start",
            "log-000000000x.seg",
            "snapshot-g1",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
