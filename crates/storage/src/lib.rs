//! The log and checkpoints of a Leasehold node, over bytes.
//!
//! This crate knows no policy, no Raft and no job: it stores bytes under names and gives them back, or says why it
//! cannot. Four parts, each usable alone, over one seam to files:
//!
//! - [`Disk`]: one folder; the operating system's ([`OsDisk`]) or a simulated one ([`MemoryDisk`]).
//! - [`DataFolder`]: what makes a folder one node's: format, identity, boot counter.
//! - [`LogStore`]: the one log of a node, shared by all its Raft groups, so that one sync serves many;
//!   [`SegmentedLog`] in files, [`MemoryLog`] as its plain twin.
//! - [`CheckpointStore`]: the checkpoint of each group, rows under keys that change by transactions.
//!
//! They use different file names, so that all of them may share one folder, and leave other names alone.
//!
//! What must always hold: nothing is reported as durable before a sync covered it; after a failed sync of what was
//! acknowledged or is about to be, nothing more is taken, and no second sync is trusted with it; and what comes back is
//! what was written, or an error that names the file, the offset and the way out.

mod checkpoint;
mod disk;
mod folder;
mod log;
mod sheet;

pub use checkpoint::{
    CHECKPOINT_FORMAT, Checkpoint, CheckpointError, CheckpointOptions, CheckpointStore, Rows,
    Table, View, Writing,
};
pub use disk::{Disk, DiskFile, DiskSpace, MemoryDisk, OpenDiskError, OpenMode, OsDisk, replace};
pub use folder::{DataFolder, FORMAT, FolderError, Identity};
pub use log::{
    Bounds, Done, LOG_FORMAT, LogHealth, LogOptions, LogStore, LogWriter, MemoryLog,
    OPERATION_BYTES_MAX, OpenLogError, Operation, SegmentedLog, Slot,
};
