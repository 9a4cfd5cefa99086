//! Keeps a group's checkpoint: writes it in the background, loads it, and puts a received one in its place.
//!
//! A checkpoint is taken once there is enough to let go of, or some time after anything changed. It does not stop the
//! applying: the machine is frozen, which is quick, and taken a portion at a time between entries. openraft is told
//! afterwards, so that it knows which entries the log may do without, and never asks for a checkpoint itself.
//!
//! What must hold: what is told to openraft is durable; a checkpoint that could not be written ends the replica, because
//! the machine counts it as written; entries that a checkpoint under way to another replica will need are not purged.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use leasehold_storage::{Checkpoint, CheckpointError, CheckpointStore, View};
use leasehold_types::GroupId;
use openraft::LogIdOptionExt;

use crate::disk;
use crate::machine::{LoadError, Machine};
use crate::snapshot::{Pack, copy_rows};
use crate::state::{Covered, Shared};
use crate::types::{Snapshot, SnapshotMeta};

/// When checkpoints are taken, and how much of the log is kept besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A checkpoint is taken this long after the last one, if anything changed. Default 5 s.
    pub checkpoint_every: Duration,
    /// And as soon as it would let go of this many bytes. Default 64 MiB.
    pub checkpoint_bytes: u64,
    /// Bytes of entries kept that the checkpoint covers, so that a replica that was gone for a while catches up from
    /// the log. Default 1 GiB.
    pub log_kept_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            checkpoint_every: Duration::from_secs(5),
            checkpoint_bytes: 64 * 1024 * 1024,
            log_kept_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// See the module.
pub(crate) struct Keeper<M: Machine> {
    group: GroupId,
    shared: Arc<Shared<M>>,
    store: Arc<CheckpointStore>,
    checkpoint: Checkpoint,
    progress: Mutex<Progress>,
    pins: Arc<Pins>,
    /// Why no checkpoint can be written any more.
    failed: OnceLock<String>,
}

/// How far checkpoints are; the lock also keeps two from being written at once.
#[derive(Default)]
struct Progress {
    /// What the checkpoint covers; none while there is none.
    written: Option<Covered>,
    /// What openraft was told of.
    told: Option<Covered>,
}

impl Progress {
    fn untold(&self) -> Option<u64> {
        let covered = self.written.filter(|_| self.told < self.written)?;
        Some(covered.index().unwrap_or(0))
    }
}

/// What a checkpoint file holds.
pub(crate) struct Loaded<M> {
    pub(crate) machine: M,
    pub(crate) meta: SnapshotMeta,
}

/// The machine of a checkpoint; none of an empty one.
pub(crate) fn load<M: Machine>(view: &View) -> Result<Option<Loaded<M>>, LoadError> {
    let Some(head) = view.head() else {
        return Ok(None);
    };
    let meta = disk::decode_snapshot_header(head);
    let meta = meta.map_err(|error| crate::MachineError::new("checkpoint", error))?;
    let machine = M::load(view)?;
    Ok(Some(Loaded { machine, meta }))
}

impl<M: Machine> Keeper<M> {
    /// Keeps the checkpoint of a group, whose machine was just loaded from it.
    pub(crate) fn new(
        group: GroupId,
        shared: Arc<Shared<M>>,
        store: Arc<CheckpointStore>,
        checkpoint: Checkpoint,
        written: Option<Covered>,
    ) -> Self {
        let progress = Progress {
            written,
            told: written,
        };
        Self {
            group,
            shared,
            store,
            checkpoint,
            progress: Mutex::new(progress),
            pins: Arc::default(),
            failed: OnceLock::new(),
        }
    }

    /// Refuses once a checkpoint could not be written.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    /// From now on nothing is applied and no checkpoint written: what is in memory and what is on disk do not agree, or
    /// what is on disk cannot be read.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) {
        let why = format!("checkpoint of group {}: {}", self.group, causes(error));
        if self.failed.set(why.clone()).is_ok() {
            tracing::error!(group = %self.group, error = %why, "checkpoint failed; the replica stops");
        }
    }

    /// A pinned view of the last checkpoint.
    pub(crate) fn view(&self) -> Result<View, CheckpointError> {
        self.checkpoint.view()
    }

    /// Where a checkpoint from the leader is received.
    pub(crate) fn receive(&self) -> Result<Checkpoint, CheckpointError> {
        self.store.receive(self.group)
    }

    /// The last entry that the log can do without.
    pub(crate) fn purgeable(&self, surplus: Option<u64>) -> Option<u64> {
        let covered = self.progress().told??.index;
        let upto = surplus?.min(covered);
        Some(self.pins.first().map_or(upto, |pinned| upto.min(pinned)))
    }

    /// Writes what changed since the last checkpoint. Gives the index of the last entry that the checkpoint covers, if
    /// openraft was not told of it.
    pub(crate) fn write(&self) -> io::Result<Option<u64>> {
        let mut progress = self.progress();
        if self.shared.has_applied_anything() {
            self.write_under(&mut progress)?;
        }
        Ok(progress.untold())
    }

    /// Writes a checkpoint unless there is room again by then, because of one that was under way. With nothing to write
    /// there is nothing to wait for either.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        let mut progress = self.progress();
        while !self.shared.has_room() {
            if !self.write_under(&mut progress)? {
                break;
            }
        }
        Ok(())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // What a panic leaves behind is a checkpoint that came to nothing: it is marked as failed below.
        let progress = self.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }

    fn write_under(&self, progress: &mut Progress) -> io::Result<bool> {
        self.check()?;
        let Some((frozen, meta)) = self.shared.freeze(progress.written) else {
            return Ok(false);
        };
        let written = self.write_frozen(frozen, &meta);
        if let Err(error) = written {
            self.fail(&error);
            return self.check().map(|()| false);
        }
        progress.written = Some(meta.last_log_id);
        Ok(true)
    }

    fn write_frozen(&self, frozen: M::Frozen, meta: &SnapshotMeta) -> Result<(), CheckpointError> {
        let mut writing = self.checkpoint.begin()?;
        let (mut frozen, mut written) = (frozen, Vec::new());
        while let Some(portion) = self.shared.between_entries(|m| m.take(&mut frozen)) {
            written.push(M::write(portion, &mut writing)?);
        }
        writing.commit(&disk::encode_snapshot_header(meta))?;
        for portion in written {
            self.shared.between_entries(|m| m.release(portion));
        }
        Ok(())
    }

    /// Gives back room that the file no longer needs, if that is worth it.
    pub(crate) fn compact(&self) {
        let progress = self.progress();
        if let Err(error) = self.checkpoint.compact_if_worth() {
            tracing::warn!(group = %self.group, %error, "checkpoint not compacted");
        }
        drop(progress);
    }

    /// The last checkpoint, for openraft to know of; a new one if it knows that already.
    pub(crate) fn tell(&self) -> io::Result<Snapshot> {
        let mut progress = self.progress();
        if progress.told >= progress.written {
            self.write_under(&mut progress)?;
        }
        progress.told = progress.written;
        drop(progress);
        let newest = self.newest()?;
        newest.ok_or_else(|| io::Error::other("the checkpoint is gone"))
    }

    /// The last checkpoint, pinned, and the log after it with it.
    pub(crate) fn newest(&self) -> io::Result<Option<Snapshot>> {
        let view = self.checkpoint.view().map_err(io::Error::other)?;
        let Some(head) = view.head() else {
            return Ok(None);
        };
        let meta = disk::decode_snapshot_header(head)?;
        let pin = self.pins.pin(meta.last_log_id.index().unwrap_or(0));
        Ok(Some(Snapshot {
            meta,
            snapshot: Pack::pinned(view, pin),
        }))
    }

    /// Switches to a checkpoint of the leader's: on the disk first, then in memory.
    pub(crate) fn install(&self, meta: &SnapshotMeta, pack: Pack) -> io::Result<()> {
        let mut progress = self.progress();
        let incoming = match pack.received() {
            Some(received) => received,
            None => self.copy(meta, &pack)?,
        };
        let view = incoming.view().map_err(io::Error::other)?;
        let machine = M::load(&view).map_err(io::Error::other)?;
        drop(view);
        self.checkpoint
            .replace_by(&incoming)
            .map_err(io::Error::other)?;
        self.shared.replace(machine, meta);
        progress.written = Some(meta.last_log_id);
        progress.told = progress.written;
        Ok(())
    }

    /// A snapshot that did not come over the network: its rows are copied.
    fn copy(&self, meta: &SnapshotMeta, pack: &Pack) -> io::Result<Checkpoint> {
        let incoming = self.receive().map_err(io::Error::other)?;
        let mut writing = incoming.begin().map_err(io::Error::other)?;
        copy_rows(pack.view(), M::TABLES, &mut writing).map_err(io::Error::other)?;
        let head = disk::encode_snapshot_header(meta);
        writing.commit(&head).map_err(io::Error::other)?;
        Ok(incoming)
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Checkpoints in use, by the last entry that they cover.
#[derive(Default)]
pub(crate) struct Pins {
    users: Mutex<BTreeMap<u64, usize>>,
}

impl Pins {
    fn users(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(self: &Arc<Self>, index: u64) -> Pin {
        *self.users().entry(index).or_default() += 1;
        Pin {
            pins: Arc::clone(self),
            index,
        }
    }

    fn first(&self) -> Option<u64> {
        self.users().first_key_value().map(|(index, _)| *index)
    }
}

/// Keeps the log after an entry for as long as it lives.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    index: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut users = self.pins.users();
        if let Some(count) = users.get_mut(&self.index) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.index);
            }
        }
    }
}
