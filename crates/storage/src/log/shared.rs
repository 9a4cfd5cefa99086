//! What the handles of a log and its writer share: the index, the queue and the counters, under one lock.
//!
//! The lock is held for memory work only, never over a read, a write, a sync or a `done`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use leasehold_types::GroupId;
use tokio::sync::Notify;

use super::format::Place;
use super::index::{Found, Index, Ticketed};
use super::rules::size;
use super::segment::read_entry;
use super::{Done, LogHealth, Operation};
use crate::disk::{DiskFile, is_for_space};

/// The state, and two ways to wait for work: a thread's and a task's.
pub(crate) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    notify: Notify,
}

pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) files: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// Without what the next segment holds ready.
    pub(crate) health: LogHealth,
    /// Bytes that the next segment holds ready. Whoever made it says so, since a log that rests does not look.
    pub(crate) ready_bytes: u64,
    queue: VecDeque<Queued>,
    is_closed: bool,
    failure: Option<Failure>,
}

/// An operation on its way to the disk.
pub(crate) struct Queued {
    /// What to write, or why the operation is refused: it waits its turn for its answer either way.
    pub(crate) work: io::Result<Ticketed>,
    bytes: u64,
    done: Done,
}

impl Queued {
    /// Tells the caller that the operation is durable, or that it was refused.
    pub(crate) fn answer(self) {
        (self.done)(self.work.map(drop));
    }
}

/// An entry as it was found, with hold of its file, so that a segment purged meanwhile can still be read.
struct Located {
    index: u64,
    found: Found,
    file: Option<Arc<dyn DiskFile>>,
}

#[derive(Clone)]
struct Failure {
    kind: io::ErrorKind,
    message: String,
}

impl Failure {
    fn error(&self) -> io::Error {
        let what =
            "the log has failed and takes nothing more; check the disk, then restart this node";
        io::Error::new(self.kind, format!("{what}: {}", self.message))
    }
}

impl State {
    /// Why nothing is taken any more.
    fn refusal(&self) -> Option<io::Error> {
        let closed = || {
            self.is_closed
                .then(|| io::Error::other("the log is closed"))
        };
        self.failure.as_ref().map(Failure::error).or_else(closed)
    }

    fn queue(&mut self, operation: Operation, done: Done) {
        let bytes = size(&operation) as u64;
        let work = self.index.apply(operation).map_err(io::Error::from);
        self.health.unsynced_batches += 1;
        self.health.unsynced_bytes += bytes;
        self.queue.push_back(Queued { work, bytes, done });
    }

    /// Takes the oldest operations, at least one if there is any, then as many as fit.
    fn take(&mut self, max_bytes: u64) -> Vec<Queued> {
        let mut taken: Vec<Queued> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            bytes += next.bytes;
            if bytes > max_bytes && !taken.is_empty() {
                break;
            }
            taken.extend(self.queue.pop_front());
        }
        taken
    }
}

impl Shared {
    pub(crate) fn new(index: Index, files: BTreeMap<u64, Arc<dyn DiskFile>>) -> Self {
        Self {
            state: Mutex::new(State {
                index,
                files,
                health: LogHealth::default(),
                ready_bytes: 0,
                queue: VecDeque::new(),
                is_closed: false,
                failure: None,
            }),
            work: Condvar::new(),
            notify: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn wake_writer(&self) {
        self.work.notify_one();
        self.notify.notify_one();
    }

    pub(crate) fn submit_all(&self, operations: Vec<(Operation, Done)>) {
        let mut refused = Vec::new();
        let mut state = self.state();
        for (operation, done) in operations {
            match state.refusal() {
                Some(refusal) => refused.push((done, refusal)),
                None => state.queue(operation, done),
            }
        }
        drop(state);
        self.wake_writer();
        for (done, refusal) in refused {
            done(Err(refusal));
        }
    }

    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.wake_writer();
    }

    /// Refuses the writer too, once the log has failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        let state = self.state();
        state
            .failure
            .as_ref()
            .map_or(Ok(()), |failure| Err(failure.error()))
    }

    pub(crate) fn take(&self, max_bytes: u64) -> Vec<Queued> {
        self.state().take(max_bytes)
    }

    /// Waits, blocking the thread, until there is work; false once the log is closed and all work is done.
    pub(crate) fn wait(&self) -> bool {
        let is_idle = |state: &mut State| state.queue.is_empty() && !state.is_closed;
        let state = self.work.wait_while(self.state(), is_idle);
        !state
            .expect("no holder of this lock panics")
            .queue
            .is_empty()
    }

    /// As [`Shared::wait`], for so long at most; whether there is work.
    pub(crate) fn wait_at_most(&self, rest: Duration) -> bool {
        let is_idle = |state: &mut State| state.queue.is_empty() && !state.is_closed;
        let waited = self.work.wait_timeout_while(self.state(), rest, is_idle);
        let (state, _) = waited.expect("no holder of this lock panics");
        !state.queue.is_empty()
    }

    /// As [`Shared::wait`], for a task.
    pub(crate) async fn wait_async(&self) -> bool {
        loop {
            let (has_work, is_closed) = {
                let state = self.state();
                (!state.queue.is_empty(), state.is_closed)
            };
            if has_work || is_closed {
                return has_work;
            }
            self.notify.notified().await;
        }
    }

    /// Tells the callers of a batch that it is durable.
    pub(crate) fn answer(&self, batch: Vec<Queued>) {
        let mut state = self.state();
        state.health.unsynced_batches -= batch.len() as u64;
        state.health.unsynced_bytes -= batch.iter().map(|queued| queued.bytes).sum::<u64>();
        state.health.synced_batches += batch.len() as u64;
        drop(state);
        batch.into_iter().for_each(Queued::answer);
    }

    /// From now on nothing is taken. The callers of `batch`, then those in the queue, are told why.
    pub(crate) fn fail(&self, error: &io::Error, batch: Vec<Queued>) {
        let mut state = self.state();
        let first = Failure {
            kind: error.kind(),
            message: error.to_string(),
        };
        let failure = state.failure.get_or_insert(first).clone();
        state.health.failed = Some(failure.message.clone());
        state.health.failed_for_space = is_for_space(failure.kind);
        let waiting = std::mem::take(&mut state.queue);
        drop(state);
        for queued in batch.into_iter().chain(waiting) {
            (queued.done)(Err(failure.error()));
        }
        self.wake_writer();
    }

    pub(crate) fn health(&self) -> LogHealth {
        let state = self.state();
        let mut health = state.health.clone();
        health.spare_bytes += state.ready_bytes;
        health
    }

    /// Entries for a reader; see [`super::LogStore::entries`].
    pub(crate) fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<(u64, Bytes)>> {
        let located = self.locate(group, range, max_bytes);
        let read = |located: Located| {
            let index = located.index;
            let content = match (located.found, located.file) {
                (Found::InMemory(content), _) => content,
                (Found::At(place), Some(file)) => read_entry(file.as_ref(), place, group, index)?,
                (Found::At(place), None) => return Err(no_segment(place)),
            };
            Ok((index, content))
        };
        located.into_iter().map(read).collect()
    }

    fn locate(&self, group: GroupId, range: Range<u64>, max_bytes: usize) -> Vec<Located> {
        let state = self.state();
        let found = state.index.find(group, range, max_bytes).into_iter();
        let locate = |(index, found): (u64, Found)| {
            let file = match &found {
                Found::InMemory(_) => None,
                Found::At(place) => state.files.get(&place.segment).cloned(),
            };
            Located { index, found, file }
        };
        found.map(locate).collect()
    }

    /// Reads an entry from where it is known to be.
    pub(crate) fn read(&self, group: GroupId, index: u64, place: Place) -> io::Result<Bytes> {
        let file = self.state().files.get(&place.segment).cloned();
        let file = file.ok_or_else(|| no_segment(place))?;
        read_entry(file.as_ref(), place, group, index)
    }
}

fn no_segment(place: Place) -> io::Error {
    let segment = place.segment;
    io::Error::other(format!(
        "segment {segment} of the log was released while an entry is in it"
    ))
}
