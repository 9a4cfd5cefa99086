//! The node's data folder in use: its boots and identity, its log with the writer running, its checkpoints.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use leasehold_consensus::{Group, GroupOptions, Machine, OpenGroupError, Retention, Timings};
use leasehold_storage::{
    CheckpointOptions, CheckpointStore, DataFolder, Disk, DiskFile, DiskSpace, LogOptions,
    LogStore, LogWriter, OpenMode, SegmentedLog,
};
use leasehold_types::{GroupId, NodeId};

use super::error::StartError;
use crate::config::StorageConfig;
use crate::disk::Watermarks;
use crate::peers::Peers;
use crate::seam::Seam;

const MIB: u64 = 1024 * 1024;

/// See the module.
pub(super) struct Store {
    pub(super) folder: DataFolder,
    disk: Arc<dyn Disk>,
    log: Arc<SegmentedLog>,
    checkpoints: Arc<CheckpointStore>,
    config: StorageConfig,
}

impl Store {
    /// Opens what the folder holds. All of the log is read and checked here.
    pub(super) fn open(config: &StorageConfig, seam: &Seam) -> Result<Self, StartError> {
        let folder = DataFolder::open(Arc::clone(&seam.disk))?;
        let options = LogOptions {
            segment_bytes: u64::from(config.segment_mib) * MIB,
            zero_fill: config.zero_fill,
            ..LogOptions::default()
        };
        let (log, writer) = open_log(&folder, seam, options)?;
        seam.threads
            .run_log_writer(writer)
            .map_err(StartError::Thread)?;
        Ok(Self {
            folder,
            disk: Arc::clone(&seam.disk),
            log: Arc::new(log),
            checkpoints: Arc::new(checkpoints(config, seam)),
            config: config.clone(),
        })
    }

    /// The world as the rest of the node gets it: with a disk that goes away together with this store, so that nothing
    /// that lingers can touch a folder which another process may have by then.
    pub(super) fn lend(&self, seam: &Seam) -> Seam {
        Seam {
            disk: Arc::new(Lent(Arc::downgrade(&self.disk))),
            ..seam.clone()
        }
    }

    pub(super) fn log(&self) -> Arc<dyn LogStore> {
        Arc::clone(&self.log) as Arc<dyn LogStore>
    }

    /// Where the room on the volume gets short.
    pub(super) fn watermarks(&self) -> Watermarks {
        Watermarks {
            low: u64::from(self.config.free_mib_min) * MIB,
            segment: u64::from(self.config.segment_mib) * MIB,
        }
    }

    /// Takes no more writes; those under way are still synced.
    pub(super) fn close(&self) {
        self.log.close();
    }

    /// What opens groups over this store.
    pub(super) fn opener(
        &self,
        node: NodeId,
        timings: Timings,
        peers: &Peers,
        seam: &Seam,
    ) -> Opener {
        Opener {
            node,
            timings,
            log: self.log(),
            checkpoints: Arc::clone(&self.checkpoints),
            peers: peers.clone(),
            seed: seam.entropy.next(),
            config: self.config.clone(),
        }
    }
}

fn checkpoints(config: &StorageConfig, seam: &Seam) -> CheckpointStore {
    let cache_bytes = u64::from(config.checkpoint_cache_mib) * MIB;
    let options = CheckpointOptions {
        cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
        ..CheckpointOptions::default()
    };
    CheckpointStore::new(Arc::clone(&seam.disk), options)
}

/// SUBTLE: a node is known by its folder before it writes to its log. So where there is an identity there must be a log,
/// whose votes would be forgotten else; and where there is a log there must be an identity, or another node would take
/// over the votes of this one.
fn open_log(
    folder: &DataFolder,
    seam: &Seam,
    options: LogOptions,
) -> Result<(SegmentedLog, LogWriter), StartError> {
    let disk = Arc::clone(&seam.disk);
    if folder.identity().is_some() {
        return Ok(SegmentedLog::open_existing(disk, options)?);
    }
    let (log, writer) = SegmentedLog::open(disk, options)?;
    match log.is_empty() {
        true => Ok((log, writer)),
        false => Err(StartError::NoIdentity),
    }
}

/// Opens groups, all with the same settings.
#[derive(Clone)]
pub(super) struct Opener {
    node: NodeId,
    timings: Timings,
    log: Arc<dyn LogStore>,
    checkpoints: Arc<CheckpointStore>,
    peers: Peers,
    seed: u64,
    config: StorageConfig,
}

impl Opener {
    pub(super) async fn open<M: Machine>(
        &self,
        group: GroupId,
        machine: M,
    ) -> Result<Group<M>, OpenGroupError> {
        let options = GroupOptions {
            group,
            node: self.node,
            timings: self.timings,
            log: Arc::clone(&self.log),
            checkpoints: Arc::clone(&self.checkpoints),
            transport: Arc::new(self.peers.clone()),
            machine,
            seed: self.seed,
            retention: Retention {
                checkpoint_every: Duration::from_millis(self.config.checkpoint_every_ms),
                checkpoint_bytes: u64::from(self.config.checkpoint_mib) * MIB,
                log_kept_bytes: u64::from(self.config.log_kept_mib) * MIB,
            },
        };
        Box::pin(Group::open(options)).await
    }

    /// Whether the log holds anything of a group: then this node was in it before.
    pub(super) fn holds(&self, group: GroupId) -> bool {
        let bounds = self.log.bounds(group);
        bounds.next > 0 || bounds.purged.is_some()
    }
}

/// A disk for as long as its owner has it.
struct Lent(Weak<dyn Disk>);

impl Lent {
    fn disk(&self) -> io::Result<Arc<dyn Disk>> {
        let gone = || io::Error::other("the node that had this disk was stopped");
        self.0.upgrade().ok_or_else(gone)
    }
}

impl Disk for Lent {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk()?.list()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.disk()?.open(name, mode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk()?.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk()?.sync_folder()
    }

    fn space(&self) -> io::Result<DiskSpace> {
        self.disk()?.space()
    }
}
