//! Work on segments that need not happen between a submit and its answer: making the next one, removing old ones.
//!
//! Filling 64 MiB with zeros takes a tenth of a second or two, and removing a large file can take long as well. In a
//! real process a thread of its own does both; in a simulation, which has no threads, the writer does them itself.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::segment::{create, file_name, number_of, write_start};
use crate::disk::{Disk, DiskFile};

type Made = io::Result<Arc<dyn DiskFile>>;

enum Chore {
    /// Make this segment.
    Prepare(u64),
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
struct Tools {
    disk: Arc<dyn Disk>,
    fill: Option<u64>,
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
    /// Making it failed; it is made once more when it is needed, and only then does a failure count.
    Failed,
}

impl Tools {
    fn prepare(&self, number: u64) -> Made {
        create(self.disk.as_ref(), number, self.fill).inspect_err(|error| {
            tracing::warn!(segment = number, %error, "cannot prepare the next segment");
            // What it took may be what is lacking; that it may not be there is no error.
            let _ = self.disk.remove(&file_name(number));
        })
    }

    /// A failure is no more than a waste of space: the next release removes what this one left.
    fn release(&self, first: u64) {
        if let Err(error) = self.try_release(first) {
            tracing::warn!(first, %error, "cannot remove old segments");
        }
    }

    /// The note comes first: a segment that it leaves out may be there or not.
    fn try_release(&self, first: u64) -> io::Result<()> {
        write_start(self.disk.as_ref(), first)?;
        for name in self.disk.list()? {
            if number_of(&name).is_some_and(|number| number < first) {
                self.disk.remove(&name)?;
            }
        }
        self.disk.sync_folder()
    }
}

impl Chores {
    pub(crate) fn new(disk: Arc<dyn Disk>, fill: Option<u64>) -> Self {
        Self {
            tools: Tools { disk, fill },
            helper: None,
            next: Next::NotAsked,
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

    /// Has the next segment made, unless that was asked before.
    pub(crate) fn prepare(&mut self, number: u64) {
        if !matches!(self.next, Next::NotAsked) {
            return;
        }
        self.next = match &self.helper {
            Some(helper) => match helper.chores.send(Chore::Prepare(number)) {
                Ok(()) => Next::Asked,
                Err(_) => Next::Failed,
            },
            None => Next::of(self.tools.prepare(number)),
        };
    }

    /// The next segment: the one that was prepared, or, if there is none, one made on the spot.
    pub(crate) fn take_next(&mut self, number: u64) -> Made {
        let next = match std::mem::replace(&mut self.next, Next::NotAsked) {
            Next::Asked => self.await_helper(),
            known @ (Next::NotAsked | Next::Ready(_) | Next::Failed) => known,
        };
        match next {
            Next::Ready(file) => Ok(file),
            Next::NotAsked | Next::Asked | Next::Failed => {
                create(self.tools.disk.as_ref(), number, None)
            }
        }
    }

    /// Bytes that a segment prepared, or being prepared, takes.
    pub(crate) fn prepared_bytes(&self, segment_bytes: u64) -> u64 {
        match (&self.next, self.tools.fill) {
            (Next::Asked | Next::Ready(_), Some(_)) => segment_bytes,
            (Next::Asked | Next::Ready(_), None) | (Next::NotAsked | Next::Failed, _) => 0,
        }
    }

    fn await_helper(&self) -> Next {
        let made = self.helper.as_ref().map(|helper| helper.made.recv());
        match made {
            Some(Ok(made)) => Next::of(made),
            Some(Err(_)) | None => Next::Failed,
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
    fn of(made: Made) -> Self {
        made.map_or(Self::Failed, Self::Ready)
    }
}

/// The life of the helper's thread: until nobody can ask any more.
fn help(tools: &Tools, asked: &Receiver<Chore>, answer: &Sender<Made>) {
    for chore in asked {
        match chore {
            // Nobody waits for the answer once the writer is gone.
            Chore::Prepare(number) => drop(answer.send(tools.prepare(number))),
            Chore::Release(first) => tools.release(first),
        }
    }
}
