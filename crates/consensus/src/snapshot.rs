//! A checkpoint on its way to another replica: cut into parts of rows, and put together again beside the old one.
//!
//! Nothing of it is ever in memory as a whole. The sender reads from a pinned view, so that its own checkpoints go on
//! meanwhile; the receiver writes each part into a file beside the one that it has, and switches to it when the last part
//! has arrived and everything is synced. Each part says how many rows came before it and has a checksum.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use leasehold_api::v1;
use leasehold_storage::{Checkpoint, CheckpointError, Rows, Table, View, Writing};
use prost::Message;

use crate::aside::aside;
use crate::keeper::Pin;

/// Bytes of rows in one part; a larger row is a part of its own.
const PART_BYTES: usize = 256 * 1024;

/// A checkpoint as openraft hands it about.
#[derive(Clone)]
pub(crate) struct Pack {
    view: View,
    from: Origin,
}

#[derive(Clone)]
enum Origin {
    /// Ours, with the log after it.
    Kept { pin: Arc<Pin> },
    /// The leader's, in a file of its own.
    Received(Checkpoint),
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pack")
    }
}

impl Pack {
    pub(crate) fn pinned(view: View, pin: Pin) -> Self {
        let from = Origin::Kept { pin: Arc::new(pin) };
        Self { view, from }
    }

    pub(crate) fn arrived(checkpoint: Checkpoint) -> Result<Self, CheckpointError> {
        let view = checkpoint.view()?;
        let from = Origin::Received(checkpoint);
        Ok(Self { view, from })
    }

    /// What keeps the log after it, if it is ours.
    pub(crate) fn pin(&self) -> Option<Arc<Pin>> {
        match &self.from {
            Origin::Kept { pin } => Some(Arc::clone(pin)),
            Origin::Received(_) => None,
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The file that it was received in.
    pub(crate) fn received(&self) -> Option<Checkpoint> {
        match &self.from {
            Origin::Kept { .. } => None,
            Origin::Received(checkpoint) => Some(checkpoint.clone()),
        }
    }
}

/// Copies all rows of some tables: for openraft's conformance suite, which hands a checkpoint about within a process.
pub(crate) fn copy_rows(
    view: &View,
    tables: &[Table],
    into: &mut Writing,
) -> Result<(), CheckpointError> {
    for table in tables {
        for row in view.scan(*table, ..)? {
            let (key, value) = row?;
            into.put(*table, &key, &value)?;
        }
    }
    Ok(())
}

/// Some rows on their way, or why there are no more.
pub type SnapshotParts = BoxStream<'static, io::Result<v1::RaftSnapshotRows>>;

/// Cuts a checkpoint into parts, reading as they are asked for. The log after it is for the caller to keep.
pub(crate) fn parts(pack: Pack, tables: &'static [Table]) -> SnapshotParts {
    let cutter = Cutter {
        view: pack.view,
        tables: tables.iter(),
        current: None,
        held_over: None,
        cut: 0,
    };
    Box::pin(stream::unfold(Some(cutter), |cutter| async move {
        let mut cutter = cutter?;
        match aside(|| cutter.next_part()) {
            Ok(part) => {
                let goes_on = !part.last;
                Some((Ok(part), goes_on.then_some(cutter)))
            }
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    }))
}

struct Cutter {
    view: View,
    tables: std::slice::Iter<'static, Table>,
    current: Option<(Table, Rows)>,
    /// A row that did not fit into the last part.
    held_over: Option<v1::RaftSnapshotRow>,
    cut: u64,
}

impl Cutter {
    /// The next part; the last one is empty.
    fn next_part(&mut self) -> Result<v1::RaftSnapshotRows, CheckpointError> {
        loop {
            let Some((table, mut rows)) = self.current.take() else {
                let Some(table) = self.tables.next() else {
                    return Ok(self.part("", Vec::new(), true));
                };
                self.current = Some((*table, self.view.scan(*table, ..)?));
                continue;
            };
            let filled = self.fill(&mut rows)?;
            if !filled.is_empty() {
                self.current = Some((table, rows));
                return Ok(self.part(table.name(), filled, false));
            }
        }
    }

    fn fill(&mut self, rows: &mut Rows) -> Result<Vec<v1::RaftSnapshotRow>, CheckpointError> {
        let mut filled: Vec<_> = self.held_over.take().into_iter().collect();
        let mut bytes: usize = filled.iter().map(Message::encoded_len).sum();
        while bytes < PART_BYTES
            && let Some(row) = rows.next()
        {
            let (key, value) = row?;
            let row = v1::RaftSnapshotRow { key, value };
            bytes += row.encoded_len();
            if bytes > PART_BYTES && !filled.is_empty() {
                self.held_over = Some(row);
                break;
            }
            filled.push(row);
        }
        Ok(filled)
    }

    fn part(
        &mut self,
        table: &str,
        rows: Vec<v1::RaftSnapshotRow>,
        last: bool,
    ) -> v1::RaftSnapshotRows {
        let before = self.cut;
        self.cut += rows.len() as u64;
        let rows: Bytes = v1::RaftSnapshotRowList { rows }.encode_to_vec().into();
        v1::RaftSnapshotRows {
            table: table.to_owned(),
            before,
            checksum: crc32fast::hash(&rows),
            rows,
            last,
        }
    }
}

/// Why a checkpoint that another replica sent was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The sender, or the way from it, made a mistake.
    #[error("malformed snapshot: {0}")]
    Malformed(String),
    /// Our own disk.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The parts stopped coming.
    #[error("snapshot cut short: {0}")]
    Broken(#[from] io::Error),
}

/// Writes parts as they arrive.
pub(crate) struct Joiner {
    tables: &'static [Table],
    writing: Writing,
    joined: u64,
}

impl Joiner {
    pub(crate) fn new(tables: &'static [Table], writing: Writing) -> Self {
        let joined = 0;
        Self {
            tables,
            writing,
            joined,
        }
    }

    /// Writes one part; says whether it was the last.
    pub(crate) fn join(&mut self, part: v1::RaftSnapshotRows) -> Result<bool, ReceiveError> {
        if part.before != self.joined {
            let why = format!(
                "{} rows arrived where {} were sent",
                self.joined, part.before
            );
            return Err(ReceiveError::Malformed(why));
        }
        if crc32fast::hash(&part.rows) != part.checksum {
            let why = format!(
                "a part after {} rows does not match its checksum",
                part.before
            );
            return Err(ReceiveError::Malformed(why));
        }
        let list = v1::RaftSnapshotRowList::decode(part.rows);
        let list = list.map_err(|error| ReceiveError::Malformed(error.to_string()))?;
        if !list.rows.is_empty() {
            self.put(&part.table, list.rows)?;
        }
        Ok(part.last)
    }

    fn put(&mut self, table: &str, rows: Vec<v1::RaftSnapshotRow>) -> Result<(), ReceiveError> {
        let known = self.tables.iter().find(|known| known.name() == table);
        let unknown = || format!("rows of table {table:?}, which this version does not know");
        let table = known.ok_or_else(|| ReceiveError::Malformed(unknown()))?;
        for row in rows {
            self.writing.put(*table, &row.key, &row.value)?;
            self.joined += 1;
        }
        Ok(())
    }

    /// Makes what arrived durable.
    pub(crate) fn finish(self, head: &[u8]) -> Result<(), ReceiveError> {
        Ok(self.writing.commit(head)?)
    }
}

#[cfg(test)]
mod tests;
