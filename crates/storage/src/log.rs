//! The one log of a node, shared by all its Raft groups.
//!
//! A store takes [`Operation`]s. What was submitted is visible to readers at once, and durable when its [`Done`] is
//! called with `Ok`. All groups share one stream of segments, so that one sync serves whatever arrived during the
//! sync before it, however many groups it came from; votes travel in the same stream under the same sync.
//!
//! Per group a store keeps a run of entries by index, the mark of the last purge, and two small values. The rules
//! are those of a Raft log: entries are appended without gaps, cut from the end (`Truncate`) and from the front
//! (`Purge`).
//!
//! How it works on disk is told where it is decided: bytes in `format`, the way back after a crash in `recover`,
//! which segments may go in `ledger` and `carry`, the order of write, sync and answer in `writer`.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use leasehold_types::GroupId;

mod carry;
mod chores;
mod drive;
mod error;
mod format;
mod index;
mod ledger;
mod memory;
mod note;
mod recover;
mod rules;
mod scan;
mod segment;
mod shared;
mod store;
mod writer;

pub use error::OpenLogError;
pub use format::LOG_FORMAT;
pub use memory::MemoryLog;
pub use rules::OPERATION_BYTES_MAX;
pub use store::{LogOptions, SegmentedLog};
pub use writer::LogWriter;

/// One change of one group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Adds entries with consecutive indexes. The first follows the last entry; where the group has no entry, it may
    /// be any index that was not purged.
    Append {
        /// Whose log.
        group: GroupId,
        /// Index and content of each entry.
        entries: Vec<(u64, Bytes)>,
    },
    /// Drops all entries with an index greater than `after`; `None` drops all entries. Keeps the mark of the purge.
    Truncate {
        /// Whose log.
        group: GroupId,
        /// The last index kept.
        after: Option<u64>,
    },
    /// Drops all entries up to and including `upto`, which may be greater than the last. A purge below an earlier one
    /// changes nothing.
    Purge {
        /// Whose log.
        group: GroupId,
        /// The last index dropped.
        upto: u64,
        /// What the caller wants to remember of the last entry dropped; see [`Bounds::purged`].
        mark: Bytes,
    },
    /// Sets one of the small values.
    Put {
        /// Whose.
        group: GroupId,
        /// Which.
        slot: Slot,
        /// The new value, in place of the old.
        value: Bytes,
    },
}

impl Operation {
    /// The group that this is about.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Append { group, .. }
            | Self::Truncate { group, .. }
            | Self::Purge { group, .. }
            | Self::Put { group, .. } => *group,
        }
    }
}

/// A small value that a group keeps beside its entries, in the same stream and under the same sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Whom the node voted for, and in which term.
    Vote,
    /// How far the group is known to be committed.
    Committed,
}

/// Called once with what became of an operation.
///
/// Called on the writer's thread or task, which waits for it: send a message and return. It may submit, it must not
/// block.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What a group's log spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Index of the first entry; equal to `next` when there is none.
    pub first: u64,
    /// Index after the last entry.
    pub next: u64,
    /// The mark of the last purge.
    pub purged: Option<Bytes>,
}

/// How a store is doing. A watcher with a clock of its own sees a stall in `unsynced_batches` above zero while
/// `synced_batches` stands still.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogHealth {
    /// Why the store takes nothing any more; such a store never recovers, its process has to end.
    pub failed: Option<String>,
    /// Whether that was because the disk, or what this process may take of it, was full.
    pub failed_for_space: bool,
    /// Operations submitted and not yet synced.
    pub unsynced_batches: u64,
    /// Bytes of those operations. They are in memory: whoever submits bounds them.
    pub unsynced_bytes: u64,
    /// Operations synced since the store was opened.
    pub synced_batches: u64,
    /// Syncs of segments since the store was opened.
    pub syncs: u64,
    /// Bytes written to segments since the store was opened, framing included.
    pub bytes_written: u64,
    /// Bytes that the segments take on the disk, those zero-filled ahead included.
    pub disk_bytes: u64,
    /// Bytes of those that are zero-filled ahead and still to be written: what the log takes when the disk is full.
    pub spare_bytes: u64,
}

/// A log of many groups.
pub trait LogStore: Send + Sync + 'static {
    /// Takes an operation. It is visible to readers when this returns.
    ///
    /// `done` is called in the order of submission, with `Ok` after a sync covered the operation. After a failed
    /// write or sync it is called with that error, for this operation and for every later one: nothing is retried.
    /// An operation that breaks a rule of [`Operation`] gets `InvalidInput`, changes nothing, and harms no other.
    fn submit(&self, operation: Operation, done: Done);

    /// Takes operations one after the other, each as [`submit`](Self::submit) does, and lets one sync cover them: the
    /// writer does not begin between two of them.
    fn submit_all(&self, operations: Vec<(Operation, Done)>) {
        for (operation, done) in operations {
            self.submit(operation, done);
        }
    }

    /// The entries of a range that there are, in order; at least one if there is any, then as many as fit in
    /// `max_bytes`.
    ///
    /// # Errors
    /// `InvalidData`, with file and offset, when an entry read back is not what was written.
    fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<(u64, Bytes)>>;

    /// What a group's log spans; zeros for a group never heard of.
    fn bounds(&self, group: GroupId) -> Bounds;

    /// The last entry that can go so that those after it still hold at least `kept` bytes; none when they are not as
    /// many. Costs as much as there is to go.
    fn surplus(&self, group: GroupId, kept: u64) -> Option<u64>;

    /// One of a group's small values.
    fn slot(&self, group: GroupId, slot: Slot) -> Option<Bytes>;

    /// How the store is doing.
    fn health(&self) -> LogHealth;
}
