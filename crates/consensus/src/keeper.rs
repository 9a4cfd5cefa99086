//! Keeps a group's checkpoint: writes it in the background, loads it, and puts a received one in its place.
//!
//! A checkpoint is taken once there is enough to let go of, or some time after anything changed. It does not stop the
//! applying: the machine is frozen, which is quick, and taken a portion at a time between entries. openraft is told
//! afterwards, so that it knows which entries the log may do without, and never asks for a checkpoint itself.
//!
//! What must hold: what is told to openraft is durable; a checkpoint that the disk refused ends the replica, because the
//! machine counts it as written, and one that there was no room for is kept and written again; entries that a checkpoint
//! under way to another replica will need are not purged.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use leasehold_storage::{Checkpoint, CheckpointError, CheckpointStore, View};
use leasehold_types::GroupId;
use openraft::LogIdOptionExt;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counts::CheckpointCounts;
use crate::disk;
use crate::machine::Machine;
use crate::snapshot::{Pack, copy_rows};
use crate::state::{Covered, Shared};
use crate::types::{Snapshot, SnapshotMeta};

mod draft;
mod pins;

use draft::Draft;
use pins::Pins;

pub(crate) use pins::Pin;

/// How long after there was no room on the disk it is tried again.
pub(crate) const SPACE_AGAIN: Duration = Duration::from_secs(5);

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
    progress: Mutex<Progress<M>>,
    pins: Arc<Pins>,
    counts: Arc<CheckpointCounts>,
    stage: watch::Sender<Stage>,
    /// Why no checkpoint can be written any more.
    failed: OnceLock<String>,
}

/// Where the replica is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It applies its log again: nobody waits for room on the disk.
    Opening,
    Serving,
    /// No checkpoint is begun any more.
    Closed,
}

/// How far checkpoints are; the lock also keeps two from being written at once.
struct Progress<M: Machine> {
    /// What the checkpoint covers; none while there is none.
    written: Option<Covered>,
    /// What openraft was told of.
    told: Option<Covered>,
    /// What there was no room for.
    draft: Option<Draft<M>>,
}

impl<M: Machine> Progress<M> {
    fn untold(&self) -> Option<u64> {
        let covered = self.written.filter(|_| self.told < self.written)?;
        Some(covered.index().unwrap_or(0))
    }
}

type Attempt<M> = (Draft<M>, Result<(), CheckpointError>);

/// What came of writing a checkpoint, where the replica goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Durable,
    /// There was nothing new.
    Nothing,
    /// There is no room: certainly nothing was done, and the same is to be written once there is.
    NoSpace,
}

/// How checkpoints stand for those who take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The last entry that the checkpoint covers, if openraft was not told of it.
    pub(crate) untold: Option<u64>,
    /// The disk has no room for the next one.
    pub(crate) is_starved: bool,
}

/// Something panicked, which has said so itself.
#[derive(Debug, thiserror::Error)]
#[error("writing it panicked")]
struct Panicked;

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
            draft: None,
        };
        Self {
            group,
            shared,
            store,
            checkpoint,
            progress: Mutex::new(progress),
            pins: Arc::default(),
            counts: Arc::default(),
            stage: watch::Sender::new(Stage::Opening),
            failed: OnceLock::new(),
        }
    }

    /// The replica is open: from now on it may wait for room on the disk.
    pub(crate) fn serve(&self) {
        self.stage.send_replace(Stage::Serving);
    }

    /// No checkpoint is begun from now on, and nobody waits for room any more.
    pub(crate) fn close(&self) {
        self.stage.send_replace(Stage::Closed);
    }

    /// Whether it is open, and not closed yet.
    pub(crate) fn is_serving(&self) -> bool {
        *self.stage.borrow() == Stage::Serving
    }

    fn is_closed(&self) -> bool {
        *self.stage.borrow() == Stage::Closed
    }

    /// Returns once what was under way is over.
    pub(crate) fn settle(&self) {
        drop(self.progress());
    }

    /// Refuses once a checkpoint could not be written.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.failed.get() {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    /// From now on nothing is applied and no checkpoint written: what is in memory and what is on disk do not agree, or
    /// what is on disk cannot be read. Gives what those hear who ask for either.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) -> io::Error {
        let why = format!("checkpoint of group {}: {}", self.group, causes(error));
        if self.failed.set(why.clone()).is_ok() {
            tracing::error!(group = %self.group, error = %why, "checkpoint failed; the replica stops");
        }
        io::Error::other(why)
    }

    /// Does something to the checkpoint; a panic is a failure as any other.
    fn guarded<R>(&self, work: impl FnOnce() -> R) -> io::Result<R> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| self.fail(&Panicked))
    }

    /// A pinned view of the last checkpoint.
    pub(crate) fn view(&self) -> Result<View, CheckpointError> {
        match self.checkpoint.view() {
            // Only until the writing that found it so is over: what was committed is there.
            Err(CheckpointError::Full { .. }) => {
                let _over = self.progress();
                self.checkpoint.view()
            }
            view => view,
        }
    }

    /// What checkpoints and snapshots have come to.
    pub(crate) fn counts(&self) -> &Arc<CheckpointCounts> {
        &self.counts
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

    /// Writes what changed since the last checkpoint, or what there was no room for.
    pub(crate) fn write(&self) -> io::Result<Standing> {
        let mut progress = self.progress();
        if self.shared.has_applied_anything() {
            self.write_under(&mut progress)?;
        }
        Ok(Standing {
            untold: progress.untold(),
            is_starved: progress.draft.is_some(),
        })
    }

    /// Writes checkpoints until there is room in memory again, which one that was under way may have made; with nothing
    /// to write there is nothing to wait for either. Says false when the disk has no room.
    pub(crate) fn make_room(&self) -> io::Result<bool> {
        let mut progress = self.progress();
        while !self.shared.has_room() {
            self.check_open()?;
            match self.write_under(&mut progress)? {
                Written::Durable => {}
                Written::Nothing => break,
                Written::NoSpace => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits until it is worth looking for room on the disk again. Refuses once the replica is closed.
    pub(crate) async fn wait_for_space(&self) -> io::Result<()> {
        let mut stage = self.stage.subscribe();
        let closed = stage.wait_for(|stage| *stage == Stage::Closed);
        drop(timeout(SPACE_AGAIN, closed).await);
        self.check_open()
    }

    fn check_open(&self) -> io::Result<()> {
        match self.is_closed() {
            true => Err(io::Error::other("the replica was shut down")),
            false => Ok(()),
        }
    }

    /// Whether there was no room on the disk when it was last needed.
    pub(crate) fn is_starved(&self) -> bool {
        self.progress().draft.is_some()
    }

    fn progress(&self) -> MutexGuard<'_, Progress<M>> {
        // Panics are caught within, and end the replica.
        let progress = self.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }

    fn write_under(&self, progress: &mut Progress<M>) -> io::Result<Written> {
        self.check()?;
        if self.is_closed() {
            return Ok(Written::Nothing);
        }
        let had_no_room = progress.draft.is_some();
        match self.try_to_write(progress)? {
            None => Ok(Written::Nothing),
            Some((draft, Ok(()))) => {
                progress.written = Some(draft.covers());
                if had_no_room {
                    tracing::info!(group = %self.group, "there is room for checkpoints again");
                }
                Ok(Written::Durable)
            }
            Some((draft, Err(error @ CheckpointError::Full { .. }))) => {
                progress.draft = Some(draft);
                self.go_without_space(&error, had_no_room)
            }
            Some((_, Err(error))) => Err(self.fail(&error)),
        }
    }

    /// What is to be written, and what came of it; none when there is nothing.
    fn try_to_write(&self, progress: &mut Progress<M>) -> io::Result<Option<Attempt<M>>> {
        let (last, left) = (progress.written, progress.draft.take());
        self.guarded(|| {
            let mut draft = left.or_else(|| self.shared.freeze(last).map(Draft::new))?;
            let _under_way = self.counts.write();
            let written = draft.write(&self.shared, &self.checkpoint);
            Some((draft, written))
        })
    }

    /// What changed stays in memory as long as that has room.
    fn go_without_space(&self, error: &CheckpointError, is_old: bool) -> io::Result<Written> {
        let error = causes(error);
        if *self.stage.borrow() == Stage::Opening {
            return Err(io::Error::other(error));
        }
        if !is_old {
            tracing::warn!(
                group = %self.group,
                error,
                "no room for a checkpoint: what changed stays in memory until there is"
            );
        }
        Ok(Written::NoSpace)
    }

    /// Gives back room that the file no longer needs, if that is worth it.
    pub(crate) fn compact(&self) {
        self.tidy("checkpoint not compacted", Checkpoint::compact_if_worth);
    }

    /// Moves values together that outlived their neighbours, if that is worth it: a step of it at a time, since it is
    /// looked at with every checkpoint.
    pub(crate) fn gather(&self) {
        self.tidy("values not gathered", Checkpoint::gather_if_worth);
    }

    fn tidy(&self, not_done: &str, work: fn(&Checkpoint) -> Result<bool, CheckpointError>) {
        let progress = self.progress();
        if self.is_closed() {
            return;
        }
        if let Ok(Err(error)) = self.guarded(|| work(&self.checkpoint)) {
            tracing::warn!(group = %self.group, %error, "{not_done}");
        }
        drop(progress);
    }

    /// The last checkpoint, for openraft to know of; a new one if it knows that already and there is room for one.
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
        let view = self.view().map_err(io::Error::other)?;
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
        self.check_open()?;
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
        self.counts.install();
        progress.written = Some(meta.last_log_id);
        progress.told = progress.written;
        progress.draft = None;
        Ok(())
    }

    /// A snapshot that did not come over the network: its rows are copied. Only openraft's conformance suite has such;
    /// a start loads the machine from the checkpoint, so that there is nothing to install.
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
