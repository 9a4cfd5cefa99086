//! Reading one segment's frames back.

use std::io;

use super::format::{
    FRAME_ALIGN, FRAME_HEAD, FrameHead, Key, Place, RECORD_HEAD, decode_frame_head, decode_record,
};
use crate::disk::{DiskFile, read_up_to};

/// Bytes of a segment in memory at a time, unless a frame is longer.
const WINDOW: usize = 1024 * 1024;

/// A frame that is whole.
pub(crate) struct Frame<'a> {
    pub(crate) head: FrameHead,
    pub(crate) records: Vec<Seen<'a>>,
}

impl Frame<'_> {
    /// Where the next one is, if this one is at `here`.
    pub(crate) fn next(&self, here: FrameAt) -> FrameAt {
        FrameAt {
            sequence: here.sequence + 1,
            offset: here.offset + self.head.span(),
        }
    }
}

/// A frame's place in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
}

/// A record as it lies in its segment.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) key: Key,
    pub(crate) content: &'a [u8],
    pub(crate) place: Place,
}

/// Why there is no further frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Where in the segment.
    pub(crate) offset: u64,
    /// What is wrong there.
    pub(crate) reason: &'static str,
}

/// A segment, read through a window that moves over it.
///
/// The window is memory of the caller's, the same for one segment after another: where a page of memory is used for the
/// first time it has to be cleared, which costs several times what reading and checking its bytes does.
pub(crate) struct Segment<'a> {
    number: u64,
    file: &'a dyn DiskFile,
    length: u64,
    window: &'a mut Vec<u8>,
    /// Where in the segment the window is.
    at: u64,
}

impl<'a> Segment<'a> {
    /// A segment, with memory for its window.
    pub(crate) fn open(
        number: u64,
        file: &'a dyn DiskFile,
        window: &'a mut Vec<u8>,
    ) -> io::Result<Self> {
        let length = file.length()?;
        window.clear();
        Ok(Self {
            number,
            file,
            length,
            window,
            at: 0,
        })
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from an offset on; fewer where the segment ends before.
    fn bytes(&mut self, offset: u64, count: u64) -> io::Result<&[u8]> {
        let end = offset.saturating_add(count).min(self.length);
        if offset < self.at || end > self.at + self.window.len() as u64 {
            self.move_to(offset, end)?;
        }
        let from = index(offset - self.at).min(self.window.len());
        let to = index(end.saturating_sub(self.at)).min(self.window.len());
        Ok(&self.window[from..to.max(from)])
    }

    fn move_to(&mut self, offset: u64, end: u64) -> io::Result<()> {
        let wanted = index(end.saturating_sub(offset)).max(WINDOW);
        let there = index(self.length.saturating_sub(offset));
        self.window.resize(wanted.min(there), 0);
        self.at = offset;
        let filled = read_up_to(self.file, offset, self.window)?;
        self.window.truncate(filled);
        Ok(())
    }

    /// The frame at an offset, if it is whole and has the sequence expected.
    pub(crate) fn frame(
        &mut self,
        offset: u64,
        sequence: u64,
    ) -> io::Result<Result<Frame<'_>, Stop>> {
        let number = self.number;
        let head = self.bytes(offset, FRAME_HEAD as u64)?;
        let head = match decode_frame_head(head, number, offset) {
            Some(head) if head.sequence == sequence => head,
            Some(_) => return Ok(Err(stop(offset, "the frame is not the one that follows"))),
            None => return Ok(Err(stop(offset, "there is no frame"))),
        };
        let body_at = offset + FRAME_HEAD as u64;
        let body = self.bytes(body_at, u64::from(head.body))?;
        if body.len() as u64 != u64::from(head.body) {
            return Ok(Err(stop(offset, "the frame is cut short")));
        }
        let records = records(number, body, body_at);
        Ok(records.and_then(
            |records| match records.len() == index(u64::from(head.records)) {
                true => Ok(Frame { head, records }),
                false => Err(stop(offset, "the frame has another number of records")),
            },
        ))
    }

    /// Whether, at or after an offset, there is a frame that was written when frame `sequence` was on the disk
    /// already.
    pub(crate) fn proves(&mut self, offset: u64, sequence: u64) -> io::Result<bool> {
        let number = self.number;
        let mut at = offset.next_multiple_of(FRAME_ALIGN as u64);
        while at < self.length {
            let window = self.bytes(at, WINDOW as u64)?;
            let heads = window.windows(FRAME_HEAD).step_by(FRAME_ALIGN);
            let mut heads = heads.zip((at..).step_by(FRAME_ALIGN));
            let proves = |(bytes, at)| {
                decode_frame_head(bytes, number, at).is_some_and(|head| head.synced >= sequence)
            };
            if heads.any(proves) {
                return Ok(true);
            }
            // The last head may begin in this window and end in the next.
            at += (WINDOW - FRAME_HEAD) as u64;
        }
        Ok(false)
    }

    /// Whether there is any frame's header at all.
    pub(crate) fn has_frames(&mut self) -> io::Result<bool> {
        self.proves(0, 0)
    }

    /// What to write again: the frames from `first` on up to `end`, then zeros for `torn` bytes. The last frame's padding may
    /// be missing from the file, or its very first block be shorter than it should: zeros again.
    ///
    /// SUBTLE: the frames are read another time, and may not be what they were: if they are in the page cache only, they
    /// may have been dropped from it. So they are checked again, in the very memory that they are taken from.
    pub(crate) fn restored(&mut self, first: FrameAt, end: u64, torn: u64) -> io::Result<Vec<u8>> {
        let length = |bytes: u64| usize::try_from(bytes).map_err(io::Error::other);
        let whole = end - first.offset;
        self.move_to(first.offset, end)?;
        let mut next = first;
        while next.offset < end {
            let frame = self.frame(next.offset, next.sequence)?;
            let frame = frame.map_err(|stop| {
                let changed = "it was whole a moment ago, and read again it is not";
                io::Error::other(format!(
                    "{changed}: at offset {}, {}",
                    stop.offset, stop.reason
                ))
            })?;
            next = frame.next(next);
        }
        let mut bytes = self.bytes(first.offset, whole)?.to_vec();
        bytes.resize(length(whole)? + length(torn)?, 0);
        Ok(bytes)
    }

    /// The offset after the last byte from `start` on that is not zero; `start` when there is none.
    pub(crate) fn end_of_content(&mut self, start: u64) -> io::Result<u64> {
        let (mut at, mut end) = (start, start);
        while at < self.length {
            let window = self.bytes(at, WINDOW as u64)?;
            if let Some(last) = last_of_content(window) {
                end = at + last as u64 + 1;
            }
            at += WINDOW as u64;
        }
        Ok(end)
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

const fn stop(offset: u64, reason: &'static str) -> Stop {
    Stop { offset, reason }
}

fn records(segment: u64, mut body: &[u8], mut offset: u64) -> Result<Vec<Seen<'_>>, Stop> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let stop = |reason| stop(offset, reason);
        let (key, content) = decode_record(body, segment, offset).map_err(stop)?;
        let place = place(segment, offset, content.len()).map_err(stop)?;
        records.push(Seen {
            key,
            content,
            place,
        });
        let size = RECORD_HEAD + content.len();
        body = &body[size..];
        offset += size as u64;
    }
    Ok(records)
}

/// Looks at many bytes at once as long as they are zeros, which nearly all are.
fn last_of_content(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 4096;
    let is_content = |chunk: &&[u8]| chunk.iter().fold(0, |all, byte| all | byte) != 0;
    let mut chunks = bytes.chunks(STRIDE);
    let chunk = chunks.rfind(is_content)?;
    let before = chunks.len() * STRIDE;
    let last = chunk.iter().rposition(|byte| *byte != 0)?;
    Some(before + last)
}

fn place(segment: u64, offset: u64, length: usize) -> Result<Place, &'static str> {
    let too_far = "a record lies further in than a segment is long";
    Ok(Place {
        segment,
        offset: u32::try_from(offset).map_err(|_| too_far)?,
        length: u32::try_from(length).map_err(|_| too_far)?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use leasehold_types::GroupId;

    use super::*;
    use crate::disk::{Disk, MemoryDisk, OpenMode};
    use crate::log::format::{Kind, Record, encode_frame_head, encode_record, frame_span};

    const NUMBER: u64 = 3;
    const START: u64 = 4096;

    /// A segment with frames whose only records have contents of these lengths, and where each begins.
    fn segment(lengths: &[usize]) -> (Box<dyn DiskFile>, Vec<u64>) {
        let file = MemoryDisk::default();
        let file = file.open("segment", OpenMode::Create).unwrap();
        let (mut at, mut starts) = (START, Vec::new());
        for (sequence, length) in (1..).zip(lengths) {
            let bytes = frame(at, sequence, *length);
            file.write_at(at, &bytes).unwrap();
            starts.push(at);
            at += frame_span((bytes.len() - FRAME_HEAD) as u64);
        }
        (file, starts)
    }

    fn frame(at: u64, sequence: u64, length: usize) -> Vec<u8> {
        let key = Key {
            group: GroupId::new(1),
            kind: Kind::Entry,
            index: sequence,
        };
        let content = Bytes::from(vec![7; length]);
        let place = place(NUMBER, at + FRAME_HEAD as u64, length).unwrap();
        let mut body = Vec::new();
        encode_record(&mut body, &Record { key, content }, place);
        let head = FrameHead {
            sequence,
            synced: sequence - 1,
            body: u32::try_from(body.len()).unwrap(),
            records: 1,
        };
        let mut frame = encode_frame_head(head, NUMBER, at).to_vec();
        frame.append(&mut body);
        frame
    }

    fn bytes_of(segment: &mut Segment<'_>, at: u64, sequence: u64) -> Result<u32, Stop> {
        let frame = segment.frame(at, sequence).unwrap()?;
        Ok(frame.records[0].place.length)
    }

    #[test]
    fn frames_come_back_whole_wherever_the_window_ends() {
        let lengths = [WINDOW - 5000, 100, 5000, 3 * WINDOW, 0, WINDOW, 17];
        let (file, starts) = segment(&lengths);
        let mut window = Vec::new();
        let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
        for ((sequence, at), length) in (1..).zip(starts).zip(lengths) {
            let found = bytes_of(&mut segment, at, sequence);
            assert_eq!(found, Ok(u32::try_from(length).unwrap()));
        }
    }

    #[test]
    fn frame_that_goes_on_behind_the_end_of_the_file_is_cut_short() {
        let (file, starts) = segment(&[10, 2 * WINDOW]);
        file.set_length(starts[1] + WINDOW as u64).unwrap();
        let mut window = Vec::new();
        let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
        let cut = bytes_of(&mut segment, starts[1], 2).unwrap_err();
        assert_eq!(cut.reason, "the frame is cut short");
    }

    #[test]
    fn proof_is_found_wherever_the_window_ends() {
        for around in (0..2 * FRAME_HEAD).step_by(FRAME_ALIGN) {
            let at = START + (WINDOW - FRAME_HEAD - FRAME_ALIGN + around) as u64;
            let (file, _) = segment(&[]);
            file.write_at(at, &frame(at, 9, 0)).unwrap();
            let mut window = Vec::new();
            let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
            assert!(segment.proves(START, 8).unwrap(), "at {at}");
            assert!(!segment.proves(START, 9).unwrap(), "at {at}");
            assert!(!segment.proves(at + 1, 8).unwrap(), "at {at}");
        }
    }

    #[test]
    fn what_is_written_again_is_what_is_there_with_zeros_for_the_rest() {
        let (file, starts) = segment(&[10, 2 * WINDOW, 20]);
        let (mut window, length) = (Vec::new(), file.length().unwrap());
        let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
        let (sequence, offset) = (2, starts[1]);
        let end = length.next_multiple_of(FRAME_ALIGN as u64);
        let first = FrameAt { sequence, offset };
        let again = segment.restored(first, end, 100).unwrap();
        let mut there = vec![0; index(length - offset)];
        read_up_to(file.as_ref(), offset, &mut there).unwrap();
        there.resize(index(end - offset) + 100, 0);
        assert!(again == there);
        let last = FrameAt {
            sequence: 4,
            offset: end,
        };
        assert_eq!(segment.restored(last, end, 3).unwrap(), [0; 3]);
    }

    #[test]
    fn frame_that_is_read_another_time_and_is_not_what_it_was_is_not_written_again() {
        let (file, starts) = segment(&[10, 30]);
        let mut window = Vec::new();
        let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
        assert_eq!(bytes_of(&mut segment, starts[1], 2), Ok(30));
        file.write_at(starts[1] + 60, &[0; 8]).unwrap();
        let (sequence, offset) = (1, starts[0]);
        let end = starts[1] + 88;
        let changed = segment.restored(FrameAt { sequence, offset }, end, 0);
        let why = changed.unwrap_err().to_string();
        assert!(why.contains("does not match its checksum"), "{why}");
    }

    #[test]
    fn content_ends_after_the_last_byte_that_is_not_zero() {
        let far = 2 * WINDOW as u64 + 12_345;
        for last in [START, START + 1, START + WINDOW as u64, far] {
            let (file, _) = segment(&[]);
            file.write_at(last, &[1]).unwrap();
            file.set_length(far + 4096).unwrap();
            let mut window = Vec::new();
            let mut segment = Segment::open(NUMBER, file.as_ref(), &mut window).unwrap();
            assert_eq!(segment.end_of_content(START).unwrap(), last + 1);
            assert_eq!(segment.end_of_content(last + 1).unwrap(), last + 1);
        }
    }
}
