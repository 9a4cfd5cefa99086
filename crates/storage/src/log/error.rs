//! Why a log cannot be opened, with the way out.

use std::io;

use leasehold_types::GroupId;

use super::segment::file_name;

/// Why a log could not be opened. Nothing was changed that a later try would miss.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// What was synced is not what was written.
    #[error(
        "log file {file} is damaged at offset {offset} ({reason}): restore it from a backup, or remove this node from the cluster and add it again with an empty folder"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A file that must be there is not.
    #[error(
        "log file {file} is missing: put it back, or remove this node from the cluster and add it again with an empty folder"
    )]
    Missing {
        /// Which file.
        file: String,
    },
    /// All files are whole, and yet an entry is missing: a bug, or files of two nodes in one folder.
    #[error(
        "the log of {group} has no entry {index}, yet has later ones: remove this node from the cluster and add it again with an empty folder"
    )]
    Hole {
        /// Whose log.
        group: GroupId,
        /// The first index missing.
        index: u64,
    },
    /// Written by a later version of Leasehold.
    #[error(
        "log file {file} has format {found}, this version reads up to {supported}: start the newer version that wrote it"
    )]
    NewerFormat {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The disk said no.
    #[error("cannot {action} log file {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// Adds what was tried, on which file, to an error of the disk.
pub(crate) fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> OpenLogError {
    let file = file.to_owned();
    move |source| OpenLogError::Io {
        action,
        file,
        source,
    }
}

/// The disk failed a log that is in use.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} log file {file}: {source}")]
struct Fault {
    action: &'static str,
    file: String,
    // Part of the message: what becomes of it is text in the log's health and in the answers to submits.
    #[source]
    source: io::Error,
}

/// Adds what was tried, on which segment, to an error of the disk. Its kind stays.
pub(crate) fn fault(action: &'static str, number: u64) -> impl FnOnce(io::Error) -> io::Error {
    move |source| {
        let file = file_name(number);
        let kind = source.kind();
        let fault = Fault {
            action,
            file,
            source,
        };
        io::Error::new(kind, fault)
    }
}

/// An entry read back that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error(
    "log file {file} is damaged at offset {offset} ({reason}): stop this node, then restore the file or rejoin with an empty folder"
)]
pub(crate) struct DamagedEntry {
    pub(crate) file: String,
    pub(crate) offset: u32,
    pub(crate) reason: &'static str,
}

impl From<DamagedEntry> for io::Error {
    fn from(damage: DamagedEntry) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}
