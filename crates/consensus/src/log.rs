//! openraft's log over the node's shared log store.
//!
//! The store keeps the order of what is submitted and calls back after the sync that covers it, so appends are not
//! awaited: openraft goes on, and one sync serves many groups. What is awaited is what a promise rests on: the vote
//! before it is given, a truncation before something else is written in its place.
//!
//! `committed` is saved so that a restarted replica shows what it showed before. It is written along with the next
//! entries, to cost no sync of its own, and never ahead of what this disk holds: a leader may commit an entry through
//! its followers first, and a `committed` beyond the log would keep the replica from starting again.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use leasehold_storage::{Bounds, Done, LogStore, Operation, Slot};
use leasehold_types::GroupId;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use crate::disk;
use crate::machine::Machine;
use crate::types::{Entry, LogId, Types, Vote};

mod recent;

use recent::Recent;

/// Bytes of entries read at a time to be applied.
const READ_BYTES: usize = 1024 * 1024;

/// Bytes of entries that one message carries to a follower, or one entry. With several messages under way, a link of
/// 20 Mbit/s still delivers them before they are given up.
const MESSAGE_BYTES: usize = 512 * 1024;

/// Bytes of entries written as one. openraft merges thousands of entries when they queue up; the store takes less.
const WRITE_BYTES: usize = 16 * 1024 * 1024;

/// One group's log. Clones share it.
pub(crate) struct Log<M: Machine> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: Machine> {
    group: GroupId,
    store: Arc<dyn LogStore>,
    state: Mutex<State<M>>,
}

struct State<M: Machine> {
    recent: Recent<M>,
    /// The last entry that is known to be on this disk.
    flushed: Option<LogId>,
    /// Committed and not yet written down.
    unsaved: Option<LogId>,
}

impl<M: Machine> Clone for Log<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Machine> Log<M> {
    /// The group's log as the store holds it; everything that the store opened with is on disk.
    pub(crate) fn open(group: GroupId, store: Arc<dyn LogStore>) -> io::Result<Self> {
        let flushed = last_log_id::<M>(group, &*store)?;
        let state = State {
            recent: Recent::default(),
            flushed,
            unsaved: None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                group,
                store,
                state: Mutex::new(state),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        // Nothing under this lock can leave it half done, so a poisoned one is as good as another.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn bounds(&self) -> Bounds {
        self.shared.store.bounds(self.shared.group)
    }

    /// The last entry that was purged.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        self.bounds().purged.map(disk::decode_log_id).transpose()
    }

    /// The last entry that can go so that those after it still hold so many bytes.
    pub(crate) fn surplus(&self, kept: u64) -> Option<u64> {
        self.shared.store.surplus(self.shared.group, kept)
    }

    /// Submits them so that one sync can cover all; the last one reports for all, since a failed write poisons the store.
    fn submit(&self, operations: Vec<Operation>, done: Done) {
        let operations = operations.into_iter();
        let mut all: Vec<(Operation, Done)> = operations
            .map(|operation| (operation, Box::new(drop) as Done))
            .collect();
        if let Some((_, of_all)) = all.last_mut() {
            *of_all = done;
        }
        self.shared.store.submit_all(all);
    }

    async fn durably(&self, operation: Operation) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        let tell = Box::new(move |result| drop(done.send(result)));
        self.shared.store.submit(operation, tell);
        waiting
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log store dropped a write")))
    }

    /// What writes `committed` down if this disk holds what it speaks of; else it waits for the next call.
    fn what_is_committed(&self) -> Option<Operation> {
        let mut state = self.state();
        let flushed = state.flushed;
        let committed = state.unsaved.take_if(|id| flushed >= Some(*id))?;
        Some(Operation::Put {
            group: self.shared.group,
            slot: Slot::Committed,
            value: disk::encode_log_id(&committed),
        })
    }

    /// The callback for an append that ends at `last`.
    fn appended(&self, last: LogId, flushed: IOFlushed<Types<M>>) -> Done {
        let log = self.clone();
        Box::new(move |result| {
            if result.is_ok() {
                let mut state = log.state();
                state.flushed = state.flushed.max(Some(last));
            }
            flushed.io_completed(result);
        })
    }

    /// The entries in portions that the store takes as one.
    fn operations(&self, entries: &[Entry<M>]) -> Vec<Operation> {
        let encoded = entries
            .iter()
            .map(|entry| (entry.index(), disk::encode_entry(entry)));
        let group = self.shared.group;
        portions(encoded, WRITE_BYTES)
            .into_iter()
            .map(|entries| Operation::Append { group, entries })
            .collect()
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry<M>>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.state().recent.get(&range, max_bytes) {
            return Ok(entries);
        }
        let Shared { group, store, .. } = &*self.shared;
        let entries = store.entries(*group, range, max_bytes)?;
        entries
            .into_iter()
            .map(|(index, bytes)| disk::decode_entry(index, bytes))
            .collect()
    }

    /// The part of `range` that the log holds.
    fn held(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let Bounds { first, next, .. } = self.bounds();
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start.max(first)..end.min(next)
    }
}

/// Cuts entries into portions of at most `limit` bytes, or of one entry.
fn portions(entries: impl Iterator<Item = (u64, Bytes)>, limit: usize) -> Vec<Vec<(u64, Bytes)>> {
    let mut portions: Vec<Vec<(u64, Bytes)>> = Vec::new();
    let mut bytes = 0_usize;
    for (index, entry) in entries {
        bytes = bytes.saturating_add(entry.len());
        match portions.last_mut() {
            Some(portion) if bytes <= limit => portion.push((index, entry)),
            Some(_) | None => {
                bytes = entry.len();
                portions.push(vec![(index, entry)]);
            }
        }
    }
    portions
}

fn last_log_id<M: Machine>(group: GroupId, store: &dyn LogStore) -> io::Result<Option<LogId>> {
    let Bounds {
        first,
        next,
        purged,
    } = store.bounds(group);
    if first == next {
        return purged.map(disk::decode_log_id).transpose();
    }
    let last = store.entries(group, next - 1..next, 1)?;
    let (index, bytes) = last
        .into_iter()
        .next()
        .ok_or_else(|| disk::unreadable("log", format_args!("no entry at index {}", next - 1)))?;
    Ok(Some(disk::decode_entry::<M>(index, bytes)?.log_id))
}

impl<M: Machine> RaftLogReader<Types<M>> for Log<M> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry<M>>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.read(self.held(&range), usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry<M>>> {
        self.read(self.held(&(start..end)), MESSAGE_BYTES)
    }

    /// A replica that fell far behind applies a long range: it is read piece by piece.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry<M>>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let pieces = Pieces {
            log: self.clone(),
            left: self.held(&range),
            ready: Vec::new().into_iter(),
        };
        stream::iter(pieces)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let Shared { group, store, .. } = &*self.shared;
        store
            .slot(*group, Slot::Vote)
            .map(disk::decode_vote)
            .transpose()
    }
}

/// A range of the log, read a piece at a time. Ends after an error.
struct Pieces<M: Machine> {
    log: Log<M>,
    left: Range<u64>,
    ready: std::vec::IntoIter<Entry<M>>,
}

impl<M: Machine> Iterator for Pieces<M> {
    type Item = io::Result<Entry<M>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.len() == 0 && !self.left.is_empty() {
            match self.log.read(self.left.clone(), READ_BYTES) {
                Ok(entries) => self.ready = entries.into_iter(),
                Err(error) => return self.fail(error),
            }
        }
        match self.ready.next() {
            Some(entry) => {
                self.left.start = entry.index() + 1;
                Some(Ok(entry))
            }
            None if self.left.is_empty() => None,
            None => {
                let why = format_args!("no entry at index {}", self.left.start);
                self.fail(disk::unreadable("log", why))
            }
        }
    }
}

impl<M: Machine> Pieces<M> {
    fn fail(&mut self, error: io::Error) -> Option<io::Result<Entry<M>>> {
        self.left.end = self.left.start;
        Some(Err(error))
    }
}

impl<M: Machine> RaftLogStorage<Types<M>> for Log<M> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<M>>> {
        let Shared { group, store, .. } = &*self.shared;
        Ok(LogState {
            last_purged_log_id: self.purged()?,
            last_log_id: last_log_id::<M>(*group, &**store)?,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (group, slot) = (self.shared.group, Slot::Vote);
        let value = disk::encode_vote(vote);
        self.durably(Operation::Put { group, slot, value }).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut state = self.state();
        state.unsaved = state.unsaved.max(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let Shared { group, store, .. } = &*self.shared;
        if let Some(committed) = self.what_is_committed() {
            store.submit(committed, Box::new(drop));
        }
        store
            .slot(*group, Slot::Committed)
            .map(disk::decode_log_id)
            .transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<M>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry<M>> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry<M>> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let mut operations: Vec<Operation> = self.what_is_committed().into_iter().collect();
        operations.extend(self.operations(&entries));
        self.state().recent.extend(entries);
        self.submit(operations, self.appended(last, callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let after = last.map(|id| id.index);
        self.state().recent.truncate(after);
        let group = self.shared.group;
        self.durably(Operation::Truncate { group, after }).await?;
        // Only now: the callbacks of earlier appends came before this one and have spoken.
        let mut state = self.state();
        state.flushed = state.flushed.min(last);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mark = disk::encode_log_id(&upto);
        let operation = Operation::Purge {
            group: self.shared.group,
            upto: upto.index,
            mark,
        };
        let mut state = self.state();
        state.recent.purge(upto.index);
        state.flushed = state.flushed.max(Some(upto));
        drop(state);
        // Not awaited, since nothing rests on it; a failed write poisons the store, so the next append reports it.
        self.shared.store.submit(operation, Box::new(drop));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
