//! Work on segments that need not happen between a submit and its answer: making the next one, removing old ones.
//!
//! The next segment is made after the first batch in the last one, unless it was there when the log was opened. Filled
//! with zeros, its blocks belong to the log whatever becomes of the volume: it is the reserve out of which a node goes
//! on for a while when the volume is full. So it is not made out of the last free bytes either, which others may need:
//! not while less than twice as much is free. Only when there is no other way does the log take those, block by block.
//!
//! Filling 64 MiB with zeros takes a tenth of a second or two, and removing a large file can take long as well. In a
//! real process a thread of its own does both; in a simulation, which has no threads, the writer does them itself.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::note::{Note, Span};
use super::segment::{create, file_name, number_of};
use super::shared::Shared;
use crate::disk::{Disk, DiskFile, OpenMode};

type Made = io::Result<Arc<dyn DiskFile>>;

enum Chore {
    /// Make the segment that the span ends with, and note it.
    Prepare(Span),
    /// Let the log start with this segment, and remove those before it.
    Release(u64),
}

/// Who does the work, and the tools for it.
pub(crate) struct Chores {
    tools: Tools,
    helper: Option<Helper>,
    next: Next,
}

#[derive(Clone)]
pub(crate) struct Tools {
    disk: Arc<dyn Disk>,
    fill: Option<u64>,
    note: Note,
    shared: Arc<Shared>,
}

struct Helper {
    chores: Sender<Chore>,
    made: Receiver<Made>,
    thread: JoinHandle<()>,
}

/// The segment after the one in use.
enum Next {
    NotAsked,
    Asked,
    Ready(Arc<dyn DiskFile>),
    /// Making it failed. It is tried again once the segment in use has reached an offset, and made in any case when it
    /// is needed: only then does a failure count.
    Failed {
        again_at: u64,
    },
}

impl Tools {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        fill: Option<u64>,
        note: Note,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            disk,
            fill,
            note,
            shared,
        }
    }

    fn prepare(&self, span: Span) -> Made {
        let made = self.check_room().and_then(|()| self.make(span, self.fill));
        let made = made.inspect(|_| self.tell_ready());
        made.inspect_err(|error| {
            tracing::warn!(segment = span.last, %error, "cannot prepare the next segment");
        })
    }

    /// The next segment is ready: from now on it counts as the log's reserve.
    fn tell_ready(&self) {
        self.shared.state().ready_bytes = self.fill.unwrap_or(0);
    }

    /// As much must be left as is taken.
    fn check_room(&self) -> io::Result<()> {
        let free = self.disk.space()?.free;
        match self.fill {
            Some(fill) if free / 2 < fill => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes are free, and the log leaves as many as it takes"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes the segment that the span ends with, and then has it noted: the note never names what is not there.
    fn make(&self, span: Span, fill: Option<u64>) -> Made {
        let file = create(self.disk.as_ref(), span.last, fill).inspect_err(|_| self.empty(span))?;
        self.note.raise(span)?;
        Ok(file)
    }

    /// Gives back what a failed try took, which may be what is lacking.
    ///
    /// SUBTLE: the name stays. An earlier try may have come as far as the note, which then asks for the file.
    fn empty(&self, span: Span) {
        let emptied = self.disk.open(&file_name(span.last), OpenMode::Create);
        if let Err(error) = emptied {
            tracing::debug!(segment = span.last, %error, "cannot empty a segment that was not made");
        }
    }

    /// A failure is no more than a waste of space: the next release removes what this one left.
    fn release(&self, first: u64) {
        if let Err(error) = self.try_release(first) {
            tracing::warn!(first, %error, "cannot remove old segments");
        }
    }

    /// The note comes first: a segment that it leaves out may be there or not.
    fn try_release(&self, first: u64) -> io::Result<()> {
        self.note.raise(Span {
            first,
            ..Span::default()
        })?;
        for name in self.disk.list()? {
            if number_of(&name).is_some_and(|number| number < first) {
                self.disk.remove(&name)?;
            }
        }
        self.disk.sync_folder()
    }
}

impl Chores {
    /// With the next segment, if that was ready when the log was opened.
    pub(crate) fn new(tools: Tools, ready: Option<Arc<dyn DiskFile>>) -> Self {
        let next = ready.map_or(Next::NotAsked, |file| {
            tools.tell_ready();
            Next::Ready(file)
        });
        Self {
            tools,
            helper: None,
            next,
        }
    }

    /// From now on a thread does the work.
    pub(crate) fn start_helper(&mut self) -> io::Result<()> {
        let (chores, asked) = channel();
        let (answer, made) = channel();
        let tools = self.tools.clone();
        let thread = std::thread::Builder::new()
            .name("log-helper".to_owned())
            .spawn(move || help(&tools, &asked, &answer))?;
        self.helper = Some(Helper {
            chores,
            made,
            thread,
        });
        Ok(())
    }

    /// Waits until the thread has done what it was asked.
    pub(crate) fn stop_helper(&mut self) {
        let Some(helper) = self.helper.take() else {
            return;
        };
        drop(helper.chores);
        if helper.thread.join().is_err() {
            tracing::warn!("the helper of the log panicked");
        }
    }

    /// Has the segment made that the span ends with, unless that was asked before. `again_at`: how far the segment in
    /// use has to be for another try, should this one fail.
    pub(crate) fn prepare(&mut self, span: Span, end: u64, again_at: u64) {
        let is_due = match &self.next {
            Next::NotAsked => true,
            Next::Failed { again_at } => *again_at <= end,
            Next::Asked | Next::Ready(_) => false,
        };
        if !is_due {
            return self.hear(again_at);
        }
        self.next = match &self.helper {
            Some(helper) => match helper.chores.send(Chore::Prepare(span)) {
                Ok(()) => Next::Asked,
                Err(_) => Next::Failed { again_at },
            },
            None => Next::of(self.tools.prepare(span), again_at),
        };
    }

    /// Takes note of what the helper has made meanwhile.
    fn hear(&mut self, again_at: u64) {
        if let (Next::Asked, Some(helper)) = (&self.next, &self.helper)
            && let Ok(made) = helper.made.try_recv()
        {
            self.next = Next::of(made, again_at);
        }
    }

    /// The segment that the span ends with: the one that was prepared, or, if there is none, one made on the spot.
    pub(crate) fn take_next(&mut self, span: Span) -> Made {
        let prepared = match std::mem::replace(&mut self.next, Next::NotAsked) {
            Next::Ready(file) => Some(file),
            Next::Asked => self.await_helper(),
            Next::NotAsked | Next::Failed { .. } => None,
        };
        prepared.map_or_else(|| self.tools.make(span, None), Ok)
    }

    /// Bytes that a segment prepared, or being prepared, takes.
    pub(crate) fn prepared_bytes(&self) -> u64 {
        match &self.next {
            Next::Asked | Next::Ready(_) => self.tools.fill.unwrap_or(0),
            Next::NotAsked | Next::Failed { .. } => 0,
        }
    }

    fn await_helper(&self) -> Option<Arc<dyn DiskFile>> {
        let made = self.helper.as_ref()?.made.recv();
        made.ok()?.ok()
    }

    /// Notes how far the log is on the disk, at its end. That it fails harms nothing: less is noted then.
    pub(crate) fn note_end(&self, synced: u64) {
        let news = Span {
            synced,
            ..Span::default()
        };
        if let Err(error) = self.tools.note.raise(news) {
            tracing::warn!(%error, "cannot note the end of the log");
        }
    }

    /// Lets the log start with this segment.
    pub(crate) fn release(&self, first: u64) {
        match &self.helper {
            Some(helper) if helper.chores.send(Chore::Release(first)).is_ok() => {}
            Some(_) | None => self.tools.release(first),
        }
    }
}

impl Next {
    fn of(made: Made, again_at: u64) -> Self {
        made.map_or(Self::Failed { again_at }, Self::Ready)
    }
}

/// The life of the helper's thread: until nobody can ask any more.
fn help(tools: &Tools, asked: &Receiver<Chore>, answer: &Sender<Made>) {
    for chore in asked {
        match chore {
            // Nobody waits for the answer once the writer is gone.
            Chore::Prepare(span) => drop(answer.send(tools.prepare(span))),
            Chore::Release(first) => tools.release(first),
        }
    }
}
