//! Opening a log: what was synced comes back whole or not at all, what was not is cut away.
//!
//! The writer writes one frame, syncs it, and only then writes the next. So at most the last frame (and a seal right
//! before it) may be unsynced when the power fails, and any part of it may have landed, a later block without an
//! earlier one. When the scan meets something that is not the next frame, the question is which of two things it is:
//!
//! - **a torn frame that was never acknowledged**, to be cut; or
//! - **damage to a frame that was**, to be refused, since serving a log without it would break a promise.
//!
//! `synced` in every frame's header answers it: if anywhere behind the bad spot there is a whole header that says "up
//! to this frame all was on the disk when I was written", the bad frame was acknowledged. The last acknowledged frame
//! is covered by its successor, by the seal that is written when the writer has rested, or by the seal that is synced
//! when the log is closed. What remains undecidable is damage to the very last frame when the power failed
//! before anything written after it reached the disk; no log with one sync a batch can tell that from a torn write,
//! and Raft's other replicas have the entries.
//!
//! In all segments but the last every frame must be there: the header of each says which frame it begins with. That
//! the last one is there, and reaches as far as it must, says the `note` beside them.
//!
//! The next segment, filled with zeros, is kept if it was ready: on a full volume it is what the log goes on in.
//!
//! Before anything is served, what no later frame vouches for, the header of its segment included, is written again and
//! synced. It may be in the page cache only, left there by a process whose sync never came or failed; readers must not be
//! shown as durable what the next power failure takes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::error::{OpenLogError, failed};
use super::format::{
    FirstBlock, FrameHead, LOG_FORMAT, SEGMENT_HEAD, SEGMENT_HEAD_USED, SegmentHead,
    decode_first_block,
};
use super::note::{self, Note, START_FILE, Span};
use super::scan::{FrameAt, Segment, Stop};
use super::segment::{create, file_name, number_of, write_head};
use crate::disk::{Disk, DiskFile, OpenMode, read_up_to};

mod replay;

pub(crate) use replay::Replay;

/// A log as it was found.
pub(crate) struct Recovered {
    pub(crate) replay: Replay,
    pub(crate) files: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// Bytes that each segment takes on the disk.
    pub(crate) sizes: BTreeMap<u64, u64>,
    /// The segment to go on in, and where in it.
    pub(crate) active: u64,
    pub(crate) end: u64,
    /// The sequence of the next frame.
    pub(crate) next_sequence: u64,
    /// The segment after the active one, if it is ready to be taken into use.
    pub(crate) ready: Option<Arc<dyn DiskFile>>,
    pub(crate) note: Note,
}

struct Opened {
    file: Arc<dyn DiskFile>,
    head: Option<SegmentHead>,
}

/// Opens the log in a folder, or starts one where there may be none yet. `fill`: how long a segment is that was filled
/// with zeros ahead.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    must_exist: bool,
    fill: Option<u64>,
) -> Result<Recovered, OpenLogError> {
    let span = match note::read(disk.as_ref())? {
        Some(span) => span,
        None if must_exist => return Err(missing(START_FILE)),
        None => start_log(disk.as_ref())?,
    };
    let opened = open_segments(disk.as_ref(), span)?;
    let active = last_in_use(&opened, span)?;
    let mut recovery = Recovery::new(disk, opened, active, span, fill);
    recovery.read_all()?;
    recovery.finish()
}

fn missing(file: &str) -> OpenLogError {
    let file = file.to_owned();
    OpenLogError::Missing { file }
}

/// Starts a log: its first segment, and then the note that says so. Without the note there is nothing to lose yet.
fn start_log(disk: &dyn Disk) -> Result<Span, OpenLogError> {
    for number in segment_numbers(disk)? {
        let name = file_name(number);
        let file = open(disk, number)?;
        let has_frames = Segment::open(number, file.as_ref(), &mut Vec::new())
            .and_then(|mut segment| segment.has_frames());
        if has_frames.map_err(failed("read", &name))? {
            return Err(missing(START_FILE));
        }
        disk.remove(&name).map_err(failed("remove", &name))?;
    }
    let head = SegmentHead {
        number: 1,
        first_sequence: 1,
    };
    create(disk, 1, None)
        .and_then(|file| write_head(file.as_ref(), head).and_then(|()| file.sync()))
        .map_err(failed("create", &file_name(1)))?;
    let span = Span {
        first: 1,
        last: 1,
        synced: 0,
    };
    note::write(disk, span).map_err(failed("write", START_FILE))?;
    Ok(span)
}

fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>, OpenLogError> {
    let names = disk.list().map_err(failed("list", "*"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn open(disk: &dyn Disk, number: u64) -> Result<Arc<dyn DiskFile>, OpenLogError> {
    let name = file_name(number);
    let file = disk.open(&name, OpenMode::Existing);
    file.map(Arc::from).map_err(failed("open", &name))
}

/// Opens the segments from the first on, which must be there without a gap up to the last, and removes older ones.
fn open_segments(disk: &dyn Disk, span: Span) -> Result<BTreeMap<u64, Opened>, OpenLogError> {
    let mut opened = BTreeMap::new();
    for number in segment_numbers(disk)? {
        let name = file_name(number);
        if number < span.first {
            disk.remove(&name).map_err(failed("remove", &name))?;
            continue;
        }
        let expected = span.first + opened.len() as u64;
        if number != expected {
            return Err(missing(&file_name(expected)));
        }
        let file = open(disk, number)?;
        let head = read_head(file.as_ref(), number)?;
        opened.insert(number, Opened { file, head });
    }
    let next = span.first + opened.len() as u64;
    match next <= span.last {
        true => Err(missing(&file_name(next))),
        false => Ok(opened),
    }
}

fn read_head(file: &dyn DiskFile, number: u64) -> Result<Option<SegmentHead>, OpenLogError> {
    let name = file_name(number);
    let mut block = [0; SEGMENT_HEAD_USED];
    let filled = read_up_to(file, 0, &mut block).map_err(failed("read", &name))?;
    match decode_first_block(&block[..filled]) {
        FirstBlock::Head(head) if head.number == number => Ok(Some(head)),
        FirstBlock::Head(_) => Err(corrupt(number, 0, "its header is that of another segment")),
        FirstBlock::Newer(found) => Err(OpenLogError::NewerFormat {
            file: name,
            found,
            supported: LOG_FORMAT,
        }),
        FirstBlock::None => Ok(None),
    }
}

/// The last segment with a header. The one after it was prepared, or was just being taken into use; only the last that
/// was made can be that, and what goes on behind it is a leftover of an earlier start.
fn last_in_use(opened: &BTreeMap<u64, Opened>, span: Span) -> Result<u64, OpenLogError> {
    let mut heads = opened.iter().rev();
    let in_use = heads.find(|(_, opened)| opened.head.is_some());
    let last = in_use.map_or(span.first, |(last, _)| *last);
    let all_in_use = span.first..=last.max(span.last.saturating_sub(1));
    let headless = all_in_use.into_iter().find(|number| {
        opened
            .get(number)
            .is_none_or(|opened| opened.head.is_none())
    });
    match headless {
        Some(number) => Err(corrupt(number, 0, "its header is damaged")),
        None => Ok(last),
    }
}

fn corrupt(number: u64, offset: u64, reason: &'static str) -> OpenLogError {
    OpenLogError::Corrupt {
        file: file_name(number),
        offset,
        reason,
    }
}

struct Recovery<'a> {
    disk: &'a Arc<dyn Disk>,
    opened: BTreeMap<u64, Opened>,
    active: u64,
    /// What the note says.
    span: Span,
    fill: Option<u64>,
    replay: Replay,
    next_sequence: u64,
    end: u64,
    /// Whether the segment after the active one can be taken into use as it is.
    has_ready: bool,
}

impl<'a> Recovery<'a> {
    fn new(
        disk: &'a Arc<dyn Disk>,
        opened: BTreeMap<u64, Opened>,
        active: u64,
        span: Span,
        fill: Option<u64>,
    ) -> Self {
        Self {
            disk,
            opened,
            active,
            span,
            fill,
            replay: Replay::default(),
            next_sequence: 0,
            end: 0,
            has_ready: false,
        }
    }

    fn read_all(&mut self) -> Result<(), OpenLogError> {
        self.next_sequence = self.first_sequence(self.span.first).unwrap_or(1);
        let mut window = Vec::new();
        for number in self.span.first..=self.active {
            let file = Arc::clone(&self.opened[&number].file);
            let segment = Segment::open(number, file.as_ref(), &mut window);
            let segment = segment.map_err(failed("read", &file_name(number)))?;
            self.read_segment(segment)?;
            tracing::info!(
                segment = number,
                last = self.active,
                "read a segment of the log"
            );
        }
        Ok(())
    }

    fn first_sequence(&self, number: u64) -> Option<u64> {
        Some(self.opened.get(&number)?.head?.first_sequence)
    }

    fn read_segment(&mut self, mut segment: Segment<'_>) -> Result<(), OpenLogError> {
        let number = segment.number();
        let mut unproven = Unproven::default();
        self.end = SEGMENT_HEAD;
        let stop = loop {
            let frame = segment.frame(self.end, self.next_sequence);
            match frame.map_err(failed("read", &file_name(number)))? {
                Ok(frame) => {
                    unproven.add(frame.head, self.end);
                    self.replay.frame(&frame.records);
                    self.end += frame.head.span();
                    self.next_sequence += 1;
                }
                Err(stop) => break stop,
            }
        };
        if number == self.active {
            return self.read_tail(segment, stop, unproven.start());
        }
        match self.first_sequence(number + 1) == Some(self.next_sequence) {
            true => Ok(()),
            false => Err(corrupt(number, stop.offset, stop.reason)),
        }
    }

    /// Decides what the end of the last segment is, and mends it.
    fn read_tail(
        &mut self,
        mut segment: Segment<'_>,
        stop: Stop,
        unproven: Option<FrameAt>,
    ) -> Result<(), OpenLogError> {
        let number = segment.number();
        let is_noted = self.next_sequence <= self.span.synced;
        let is_proven = segment.proves(self.end, self.next_sequence);
        if is_noted || is_proven.map_err(failed("read", &file_name(number)))? {
            return Err(corrupt(number, stop.offset, stop.reason));
        }
        for (&number, opened) in self.opened.range(number + 1..) {
            let prepared = self.prepared(number, opened.file.as_ref());
            match prepared.map_err(failed("read", &file_name(number)))? {
                Prepared::Ready => self.has_ready = true,
                Prepared::Leftover => {}
                Prepared::InUse => return Err(corrupt(number, 0, "its header is damaged")),
            }
        }
        self.mend(segment, unproven)
            .map_err(failed("mend", &file_name(number)))
    }

    /// What a segment after the active one is. The note names it only once it is on the disk.
    fn prepared(&self, number: u64, file: &dyn DiskFile) -> std::io::Result<Prepared> {
        let mut window = Vec::new();
        let mut segment = Segment::open(number, file, &mut window)?;
        if segment.proves(0, self.next_sequence)? {
            return Ok(Prepared::InUse);
        }
        let is_ready = number == self.active + 1
            && number <= self.span.last
            && self.fill == Some(segment.length())
            && segment.end_of_content(0)? == 0;
        Ok(match is_ready {
            true => Prepared::Ready,
            false => Prepared::Leftover,
        })
    }

    /// Writes again what nothing vouches for, with zeros for what was torn, and syncs it. Before a segment's first frame
    /// that is its header too: one sync is for both.
    fn mend(&self, mut segment: Segment<'_>, unproven: Option<FrameAt>) -> std::io::Result<()> {
        let unproven = unproven.unwrap_or(FrameAt {
            sequence: self.next_sequence,
            offset: self.end,
        });
        let torn = segment.end_of_content(self.end)? - self.end;
        if torn > 0 {
            let (file, offset) = (file_name(segment.number()), self.end);
            tracing::warn!(
                file,
                offset,
                bytes = torn,
                "cut a torn write off the end of the log"
            );
        }
        let again = segment.restored(unproven, self.end, torn)?;
        let Opened { file, head } = &self.opened[&segment.number()];
        if let (SEGMENT_HEAD, Some(head)) = (unproven.offset, head) {
            write_head(file.as_ref(), *head)?;
        }
        if !again.is_empty() {
            file.write_at(unproven.offset, &again)?;
        }
        file.sync()
    }

    fn finish(mut self) -> Result<Recovered, OpenLogError> {
        let note = self.renew_note()?;
        let mut prepared = self.opened.split_off(&(self.active + 1));
        let ready = self.take_ready(&mut prepared)?;
        for &number in prepared.keys() {
            let name = file_name(number);
            self.disk.remove(&name).map_err(failed("remove", &name))?;
        }
        self.disk
            .sync_folder()
            .map_err(failed("sync the names of", "*"))?;
        let mut sizes = BTreeMap::new();
        for (&number, opened) in &self.opened {
            let length = opened.file.length();
            sizes.insert(number, length.map_err(failed("read", &file_name(number)))?);
        }
        let files = self
            .opened
            .into_iter()
            .map(|(number, opened)| (number, opened.file));
        Ok(Recovered {
            replay: self.replay,
            files: files.collect(),
            sizes,
            active: self.active,
            end: self.end,
            next_sequence: self.next_sequence,
            ready,
            note,
        })
    }

    /// The prepared segment that stays. Synced, in case that it was being made anew when the process ended.
    fn take_ready(
        &self,
        prepared: &mut BTreeMap<u64, Opened>,
    ) -> Result<Option<Arc<dyn DiskFile>>, OpenLogError> {
        let number = self.active + 1;
        if !self.has_ready {
            return Ok(None);
        }
        let ready = prepared.remove(&number).map(|opened| opened.file);
        if let Some(file) = &ready {
            file.sync().map_err(failed("sync", &file_name(number)))?;
        }
        Ok(ready)
    }

    /// What was read is on the disk now. Segments that were prepared go, all but one that is ready, so the note must not
    /// ask for them any more.
    fn renew_note(&self) -> Result<Note, OpenLogError> {
        let span = Span {
            first: self.span.first,
            last: self.active + u64::from(self.has_ready),
            synced: self.next_sequence - 1,
        };
        if span != self.span {
            note::write(self.disk.as_ref(), span).map_err(failed("write", START_FILE))?;
        }
        Ok(Note::new(Arc::clone(self.disk), span))
    }
}

/// What a segment after the active one is.
enum Prepared {
    /// The next one, filled with zeros and untouched.
    Ready,
    /// Left from an earlier start; it holds nothing.
    Leftover,
    /// Damaged: it holds what was written after everything before it.
    InUse,
}

/// The frames at the end that no later frame vouches for.
#[derive(Default)]
struct Unproven(VecDeque<FrameAt>);

impl Unproven {
    fn add(&mut self, head: FrameHead, offset: u64) {
        while self
            .0
            .front()
            .is_some_and(|frame| frame.sequence <= head.synced)
        {
            self.0.pop_front();
        }
        let sequence = head.sequence;
        self.0.push_back(FrameAt { sequence, offset });
    }

    fn start(&self) -> Option<FrameAt> {
        self.0.front().copied()
    }
}
