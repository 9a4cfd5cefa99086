//! The log in files: the handle that takes operations and answers readers.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_types::GroupId;

use super::error::OpenLogError;
use super::index::Index;
use super::recover::recover;
use super::shared::Shared;
use super::writer::LogWriter;
use super::{Bounds, Done, LogHealth, LogStore, Operation, Slot};
use crate::disk::Disk;

const MIB: u64 = 1024 * 1024;
/// Room for the header and some frames; with less, `carry` would find every segment mostly empty.
const SEGMENT_BYTES_MIN: u64 = 16 * 1024;
/// Offsets within a segment are kept as 32 bits, and a segment may be longer by one batch.
const SEGMENT_BYTES_MAX: u64 = 1024 * MIB;
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of a segment: 64 MiB; 16 KiB to 1 GiB. The disk gives space back one segment at a time.
    pub segment_bytes: u64,
    /// Whether segments are filled with zeros before they are used: true. Saves a third of a sync's time on a real
    /// disk, costs writing everything twice; pointless in memory.
    pub zero_fill: bool,
    /// Bytes that one sync covers at most, unless a single operation has more: 4 MiB; at most 256 MiB.
    pub batch_bytes: usize,
    /// Bytes of entries written lately that are kept in memory for readers: 8 MiB. Older ones are mostly still in the
    /// system's page cache.
    pub cache_bytes: usize,
    /// Bytes of old entries that one batch writes forward at most, so that an idle group lets its old segments go:
    /// 1 MiB.
    pub carry_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * MIB,
            zero_fill: true,
            batch_bytes: 4 * 1024 * 1024,
            cache_bytes: 8 * 1024 * 1024,
            carry_bytes: 1024 * 1024,
        }
    }
}

impl LogOptions {
    /// Bytes of zeros that a segment is filled with ahead; `None` when it is not.
    pub(super) fn fill(&self) -> Option<u64> {
        self.zero_fill.then_some(self.segment_bytes)
    }

    fn bounded(mut self) -> Self {
        self.segment_bytes = self
            .segment_bytes
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self.batch_bytes = self.batch_bytes.min(BATCH_BYTES_MAX);
        self.carry_bytes = self.carry_bytes.min(BATCH_BYTES_MAX);
        self
    }
}

/// The log of a node, in segments on a disk. Dropping it closes it.
pub struct SegmentedLog {
    shared: Arc<Shared>,
}

impl SegmentedLog {
    /// Opens the log in a folder, or starts one there. All it holds is read and checked, about a gigabyte a second,
    /// and durable when this returns. What is submitted is written once one of the [`LogWriter`]'s drivers runs.
    ///
    /// # Errors
    /// [`OpenLogError`] names the file, the offset and the way out.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
    ) -> Result<(Self, LogWriter), OpenLogError> {
        Self::recovered(disk, options, false)
    }

    /// As [`SegmentedLog::open`], in a folder that must hold a log: one without is refused, since a log that begins anew
    /// has forgotten its votes.
    ///
    /// # Errors
    /// [`OpenLogError`] names the file, the offset and the way out.
    pub fn open_existing(
        disk: Arc<dyn Disk>,
        options: LogOptions,
    ) -> Result<(Self, LogWriter), OpenLogError> {
        Self::recovered(disk, options, true)
    }

    fn recovered(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        must_exist: bool,
    ) -> Result<(Self, LogWriter), OpenLogError> {
        let options = options.bounded();
        let mut recovered = recover(&disk, must_exist, options.fill())?;
        let (groups, ledger) = std::mem::take(&mut recovered.replay).finish()?;
        let index = Index::new(groups, options.cache_bytes);
        let shared = Arc::new(Shared::new(index, recovered.files.clone()));
        let writer = LogWriter::new(Arc::clone(&shared), disk, options, ledger, recovered);
        Ok((Self { shared }, writer))
    }

    /// Whether nothing was ever written to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.state().index.is_empty()
    }

    /// Takes nothing more. The writer finishes what was submitted, and then ends.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Drop for SegmentedLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl LogStore for SegmentedLog {
    fn submit(&self, operation: Operation, done: Done) {
        self.shared.submit_all(vec![(operation, done)]);
    }

    fn submit_all(&self, operations: Vec<(Operation, Done)>) {
        self.shared.submit_all(operations);
    }

    fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<(u64, Bytes)>> {
        self.shared.entries(group, range, max_bytes)
    }

    fn bounds(&self, group: GroupId) -> Bounds {
        self.shared.state().index.bounds(group)
    }

    fn surplus(&self, group: GroupId, kept: u64) -> Option<u64> {
        self.shared.state().index.surplus(group, kept)
    }

    fn slot(&self, group: GroupId, slot: Slot) -> Option<Bytes> {
        self.shared.state().index.slot(group, slot)
    }

    fn health(&self) -> LogHealth {
        self.shared.health()
    }
}
