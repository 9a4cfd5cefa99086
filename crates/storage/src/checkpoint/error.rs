//! Why a checkpoint could not be read or changed.

use std::io;

use super::file::{BlockFile, CHECKPOINT_FORMAT, Fault, again};
use crate::disk::is_for_space;

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
    /// There is no room. What was asked for has certainly not happened, now or later, a commit too, and may be asked for
    /// again when there is room: a change from [`Checkpoint::begin`](super::Checkpoint::begin) on, with all that it puts
    /// and removes. What was committed before is untouched and can be read through a new view.
    #[error("cannot {action} checkpoint file {file}, the disk is full: free some space on it")]
    Full {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk said no. When it said so while the checkpoint was read, changed or replaced, that is not used any
    /// further; a failed compaction leaves it as it was.
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
    /// What was received took its group's place; this handle is for nothing any more.
    #[error("checkpoint file {file} took its group's place: open that")]
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
            // Also for lack of space: what a failed sync left is not known.
            Fault::Sync { source } => Self::Io {
                action: "sync",
                file: file.to_owned(),
                source: again(source),
            },
            Fault::Of { file, fault } => Self::of_fault(file, fault),
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

    /// The same for a change of which it is not known whether it happened: no reason to make it again.
    pub(super) fn of_unknown_outcome(self) -> Self {
        match self {
            Self::Full {
                action,
                file,
                source,
            } => Self::Io {
                action,
                file,
                source,
            },
            Self::Corrupt { .. }
            | Self::NewerFormat { .. }
            | Self::Io { .. }
            | Self::Busy { .. }
            | Self::Gone { .. } => self,
        }
    }

    pub(super) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        if is_for_space(source.kind()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_that_fails_for_lack_of_space_is_no_reason_to_try_again() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let fault = Fault::of_failed_sync(io::Error::from(kind));
            let error = CheckpointError::of_fault("checkpoint-g3", &fault);
            assert!(matches!(error, CheckpointError::Io { action: "sync", .. }));
            let error = CheckpointError::io("write", "checkpoint-g3", io::Error::from(kind));
            assert!(matches!(error, CheckpointError::Full { .. }));
        }
    }
}
