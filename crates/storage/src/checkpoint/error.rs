//! Why a checkpoint could not be read or changed.

use std::io;

use super::file::{BlockFile, CHECKPOINT_FORMAT, Fault, again, is_full};

/// Why a checkpoint could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// What is in the file is not what was written. Nothing damaged is ever returned, and the checkpoint is not used
    /// any further.
    #[error(
        "checkpoint file {file} is damaged at offset {offset} ({reason}): restore it from a backup, or remove this node from the cluster and add it again with an empty folder"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it, in bytes; 0 when it is the whole that does not fit together.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Written by a later version of Leasehold.
    #[error(
        "checkpoint file {file} has format {found}, this version reads up to {supported}: start the newer version that wrote it"
    )]
    NewerFormat {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// There is no room. What was committed before is untouched and can be read through a new view, and writing may be
    /// tried again when there is room.
    #[error("cannot {action} checkpoint file {file}, the disk is full: free some space on it")]
    Full {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk said no. The checkpoint is not used any further.
    #[error("cannot {action} checkpoint file {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The checkpoint is being changed already, which only one may do at a time.
    #[error("checkpoint file {file} is being changed already: end that change first")]
    Busy {
        /// Which file.
        file: String,
    },
    /// The checkpoint was removed, or took the place of another one; this handle is for neither.
    #[error("checkpoint file {file} is no longer there under this name: open it again")]
    Gone {
        /// Which file.
        file: String,
    },
}

impl CheckpointError {
    pub(super) fn of_fault(file: &str, fault: &Fault) -> Self {
        match fault {
            Fault::Corrupt { offset, reason } => Self::Corrupt {
                file: file.to_owned(),
                offset: *offset,
                reason: (*reason).to_owned(),
            },
            Fault::NewerFormat { found } => Self::NewerFormat {
                file: file.to_owned(),
                found: *found,
                supported: CHECKPOINT_FORMAT,
            },
            Fault::Io { action, source } | Fault::Full { action, source } => {
                Self::io(action, file, again(source))
            }
            Fault::Sync { source } => Self::io("sync", file, again(source)),
        }
    }

    /// What redb said about a file, or what the file says was the cause of it.
    pub(super) fn of_redb(
        action: &'static str,
        name: &str,
        file: &BlockFile,
        error: redb::Error,
    ) -> Self {
        if let Some(fault) = file.fault() {
            return Self::of_fault(name, &fault);
        }
        if let redb::Error::Corrupted(reason) = error {
            let file = name.to_owned();
            return Self::Corrupt {
                file,
                offset: 0,
                reason,
            };
        }
        Self::io(action, name, io::Error::other(error))
    }

    pub(super) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        if is_full(&source) {
            return Self::Full {
                action,
                file,
                source,
            };
        }
        Self::Io {
            action,
            file,
            source,
        }
    }
}
