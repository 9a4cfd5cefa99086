//! The note beside the segments, in `log-start`: which of them there must be, and how far they must reach.
//!
//! A segment that is lost as a whole leaves no trace in the others when it was the last one, and neither do frames cut
//! off its end. So the note names the first segment and the last that was made, and a frame that is known to be on the
//! disk. A segment is named before any frame goes into it. It is named when it is prepared, by the thread that
//! prepares it, so that no submit waits for the note; at that time the number of the newest synced frame is noted too,
//! and once more when the log is opened and when it is closed.
//!
//! What must hold: the note may say less than is there, never more. What the disk lacks of it is lost.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{OpenLogError, failed};
use super::format::LOG_FORMAT;
use crate::disk::Disk;
use crate::sheet::{self, Sheet, SheetError};

/// The note's file. Segments before the first that it names are leftovers.
pub(crate) const START_FILE: &str = "log-start";
const START_TITLE: &str = "leasehold log";

/// What the note says. Each of the three only rises while the log is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Number of the first segment.
    pub(crate) first: u64,
    /// Number of the last segment that was made. Only this one may be without a header yet.
    pub(crate) last: u64,
    /// All frames up to this one are on the disk.
    pub(crate) synced: u64,
}

impl Span {
    fn raised_to(self, other: Self) -> Self {
        Self {
            first: self.first.max(other.first),
            last: self.last.max(other.last),
            synced: self.synced.max(other.synced),
        }
    }
}

/// The note of a log in use. Clones share it: the writer and its helper both have news for it.
#[derive(Clone)]
pub(crate) struct Note {
    disk: Arc<dyn Disk>,
    span: Arc<Mutex<Span>>,
}

impl Note {
    /// The note as it stands on the disk.
    pub(crate) fn new(disk: Arc<dyn Disk>, span: Span) -> Self {
        let span = Arc::new(Mutex::new(span));
        Self { disk, span }
    }

    /// Notes, durably, whatever is greater than what is noted. Zeros say nothing.
    ///
    /// # Errors
    /// When the disk fails; which of the two notes is there then is not known.
    pub(crate) fn raise(&self, news: Span) -> io::Result<()> {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        let raised = span.raised_to(news);
        if raised != *span {
            write(self.disk.as_ref(), raised)?;
            *span = raised;
        }
        Ok(())
    }
}

/// Writes the note in place of the one that is there, durably.
pub(crate) fn write(disk: &dyn Disk, span: Span) -> io::Result<()> {
    let lines = [
        ("format", LOG_FORMAT.to_string()),
        ("first", span.first.to_string()),
        ("last", span.last.to_string()),
        ("synced", span.synced.to_string()),
    ];
    sheet::write(disk, START_FILE, START_TITLE, &lines)
}

/// What the note says; `None` when the log was never started.
pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Span>, OpenLogError> {
    let Some(sheet) = sheet::read(disk, START_FILE, START_TITLE).map_err(unusable)? else {
        return Ok(None);
    };
    let found: u32 = sheet.get("format").map_err(unusable)?;
    if found > LOG_FORMAT {
        return Err(OpenLogError::NewerFormat {
            file: START_FILE.to_owned(),
            found,
            supported: LOG_FORMAT,
        });
    }
    span(&sheet).map_err(unusable).map(Some)
}

fn span(sheet: &Sheet) -> Result<Span, SheetError> {
    Ok(Span {
        first: sheet.get("first")?,
        last: sheet.get("last")?,
        synced: sheet.get("synced")?,
    })
}

fn unusable(error: SheetError) -> OpenLogError {
    let corrupt = |reason| OpenLogError::Corrupt {
        file: START_FILE.to_owned(),
        offset: 0,
        reason,
    };
    match error {
        SheetError::Io(source) => failed("read", START_FILE)(source),
        SheetError::Checksum => corrupt("it does not match its checksum"),
        SheetError::Title(_) => corrupt("its first line is another"),
        SheetError::Line(_) => corrupt("it lacks a line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const SPAN: Span = Span {
        first: 2,
        last: 5,
        synced: 77,
    };

    #[test]
    fn note_only_rises_and_is_left_alone_where_there_is_no_news() {
        let disk = MemoryDisk::new();
        write(&disk, SPAN).unwrap();
        let note = Note::new(Arc::new(disk.clone()), SPAN);
        let syncs = disk.syncs();
        let old = Span {
            first: 1,
            ..Span::default()
        };
        note.raise(old).unwrap();
        assert_eq!((read(&disk).unwrap(), disk.syncs()), (Some(SPAN), syncs));
        let news = Span {
            last: 6,
            ..Span::default()
        };
        note.raise(news).unwrap();
        disk.crash();
        assert_eq!(read(&disk).unwrap(), Some(Span { last: 6, ..SPAN }));
    }

    #[test]
    fn note_that_could_not_be_written_is_written_the_next_time() {
        let disk = MemoryDisk::new();
        let note = Note::new(Arc::new(disk.clone()), Span::default());
        disk.fail_next_syncs(1);
        note.raise(SPAN).unwrap_err();
        note.raise(SPAN).unwrap();
        disk.crash();
        assert_eq!(read(&disk).unwrap(), Some(SPAN));
    }
}
