//! Reading one segment's frames back, from its bytes in memory.

use std::io;

use super::format::{
    FRAME_ALIGN, FRAME_HEAD, FrameHead, Key, Place, RECORD_HEAD, decode_frame_head, decode_record,
};

/// A frame that is whole.
pub(crate) struct Frame<'a> {
    pub(crate) head: FrameHead,
    pub(crate) records: Vec<Seen<'a>>,
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

/// A segment's bytes.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) number: u64,
    pub(crate) content: &'a [u8],
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl<'a> Segment<'a> {
    fn from(&self, offset: u64) -> &'a [u8] {
        self.content.get(index(offset)..).unwrap_or_default()
    }

    /// The frame at an offset, if it is whole and has the sequence expected.
    pub(crate) fn frame(&self, offset: u64, sequence: u64) -> Result<Frame<'a>, Stop> {
        let stop = |offset, reason| Stop { offset, reason };
        let head = decode_frame_head(self.from(offset), self.number, offset)
            .ok_or(stop(offset, "there is no frame"))?;
        if head.sequence != sequence {
            return Err(stop(offset, "the frame is not the one that follows"));
        }
        let body_at = offset + FRAME_HEAD as u64;
        let body = self.from(body_at).get(..index(u64::from(head.body)));
        let body = body.ok_or(stop(offset, "the frame is cut short"))?;
        let records = self.records(body, body_at)?;
        if records.len() != index(u64::from(head.records)) {
            return Err(stop(offset, "the frame has another number of records"));
        }
        Ok(Frame { head, records })
    }

    fn records(&self, mut body: &'a [u8], mut offset: u64) -> Result<Vec<Seen<'a>>, Stop> {
        let mut records = Vec::new();
        while !body.is_empty() {
            let stop = |reason| Stop { offset, reason };
            let (key, content) = decode_record(body, self.number, offset).map_err(stop)?;
            let place = place(self.number, offset, content.len()).map_err(stop)?;
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

    /// Whether, at or after an offset, there is a frame that was written when frame `sequence` was on the disk
    /// already.
    pub(crate) fn proves(&self, offset: u64, sequence: u64) -> bool {
        let start = offset.next_multiple_of(FRAME_ALIGN as u64);
        let proves = |at: u64| {
            decode_frame_head(self.from(at), self.number, at)
                .is_some_and(|head| head.synced >= sequence)
        };
        (start..self.content.len() as u64)
            .step_by(FRAME_ALIGN)
            .any(proves)
    }

    /// Whether there is any frame's header at all.
    pub(crate) fn has_frames(&self) -> bool {
        self.proves(0, 0)
    }

    /// What to write from `start` on: the bytes up to `end`, which are whole, then zeros for `torn` bytes. The last
    /// frame's padding may be missing from the file, or its very first block be shorter than it should: zeros again.
    pub(crate) fn restored(&self, start: u64, end: u64, torn: u64) -> io::Result<Vec<u8>> {
        let length = |bytes: u64| usize::try_from(bytes).map_err(io::Error::other);
        let whole = length(end - start)?;
        let mut bytes = vec![0; whole + length(torn)?];
        let present = self.from(start);
        let count = present.len().min(whole);
        bytes[..count].copy_from_slice(&present[..count]);
        Ok(bytes)
    }

    /// The offset after the last byte that is not zero.
    pub(crate) fn end_of_content(&self) -> u64 {
        let last = self.content.iter().rposition(|byte| *byte != 0);
        last.map_or(0, |last| last as u64 + 1)
    }
}

fn place(segment: u64, offset: u64, length: usize) -> Result<Place, &'static str> {
    let too_far = "a record lies further in than a segment is long";
    Ok(Place {
        segment,
        offset: u32::try_from(offset).map_err(|_| too_far)?,
        length: u32::try_from(length).map_err(|_| too_far)?,
    })
}
