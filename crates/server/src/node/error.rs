//! Why a node does not start, and why one that runs has to end: what an operator reads first.

use std::io;
use std::path::PathBuf;

use leasehold_api::ApiError;
use leasehold_consensus::OpenGroupError;
use leasehold_storage::{FolderError, Identity, OpenDiskError, OpenLogError};
use leasehold_types::{ClusterId, NodeId, RegionName};

use crate::cluster::{FoundingError, JoinError};
use crate::config::InvalidConfig;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be in force.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The data folder cannot be opened, or another process has it.
    #[error(transparent)]
    Disk(#[from] OpenDiskError),
    /// The data folder is damaged, of a newer format, or not ours.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node's note to itself cannot be read or written.
    #[error(
        "file {file} of the data folder: {reason}; restore it from a backup, or join as a new node, with an empty folder and another peer address"
    )]
    Keepsake {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node's note to itself was written by another version.
    #[error(
        "file {file} of the data folder has format {found}, this version reads up to {supported}: start the newer version that wrote it"
    )]
    KeepsakeFormat {
        /// Which file.
        file: &'static str,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The log is damaged or of a newer format.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// The folder does not say whose it is, and holds what was written.
    #[error(
        "file identity of the data folder is missing, and its log has entries: restore it from a backup, or remove this node from the cluster and add it again with an empty folder"
    )]
    NoIdentity,
    /// The operating system gives no thread.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// An address cannot be listened on.
    #[error(
        "cannot listen for {whom} at {address}: {cause}{}",
        way_out(cause, setting)
    )]
    Listen {
        /// Clients or peers.
        whom: &'static str,
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: String,
        /// What the operating system said; part of the message, and so not a source of its own.
        cause: io::Error,
    },
    /// A second founding on one folder.
    #[error(
        "the data folder belongs to {0} already, and a cluster is founded once: start this node without --init"
    )]
    AlreadyMember(Identity),
    /// Neither founding nor joining.
    #[error(
        "this node has no cluster yet: found one with --init (one node, once), or name nodes of the one to join with --join"
    )]
    NoCluster,
    /// The founding failed.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// The cluster does not let the node in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The metadata cannot be read.
    #[error(transparent)]
    Group(#[from] OpenGroupError),
    /// The node was moved to another region by its configuration.
    #[error(
        "node {node} is a node of region {joined} and is configured for {configured}: \
         set its region back, or join there as a new node, with an empty data folder and another peer address"
    )]
    OtherRegion {
        /// The node.
        node: NodeId,
        /// Where it joined.
        joined: RegionName,
        /// Where it is configured to be.
        configured: RegionName,
    },
}

const fn what_first(is_full: bool) -> &'static str {
    match is_full {
        true => "make room on its volume",
        false => "check its volume and the kernel's log",
    }
}

fn way_out(error: &io::Error, setting: &str) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::AddrInUse {
        return format!(", so stop the process that has it, or set {setting} to another port");
    }
    if kind == io::ErrorKind::AddrNotAvailable {
        return format!(", so set {setting} to an address of this machine");
    }
    if kind == io::ErrorKind::PermissionDenied {
        return format!(", so set {setting} to a port from 1024 on");
    }
    format!(", see {setting}")
}

/// Why a running node has to end. What is acknowledged is safe in each case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The disk no longer takes or syncs writes.
    #[error(
        "the disk of data folder {} is lost: {reason}; {}, then start the node again",
        folder.display(),
        what_first(*is_full)
    )]
    DiskLost {
        /// The folder.
        folder: PathBuf,
        /// What the log said, with the file, or for how long it said nothing.
        reason: String,
        /// Whether there was no room.
        is_full: bool,
    },
    /// The replica of the metadata broke.
    #[error("this node's replica of the metadata stopped: {reason}")]
    Metadata {
        /// What it said.
        reason: String,
    },
    /// The cluster does not want this node, above all as an old copy of a data folder.
    #[error("the cluster refuses this node: {0}")]
    Refused(ApiError),
    /// `--init` on the empty folder of a node that a cluster already has.
    #[error(
        "this start founded cluster {founded} on an empty data folder, and node {by} of cluster {cluster} looks for \
         node {was} here: if this is node {was}, bring its data folder back and start without --init; \
         if the new cluster is meant, stop node {by} and start this one again without --init"
    )]
    SecondFounding {
        /// The cluster that this start founded.
        founded: ClusterId,
        /// The cluster that was there before.
        cluster: ClusterId,
        /// Its node that called.
        by: NodeId,
        /// Its node that was called.
        was: NodeId,
    },
    /// The node was stopped.
    #[error("the node was stopped")]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_is_named_with_the_setting_that_frees_it() {
        let error = StartError::Listen {
            whom: "clients",
            setting: "listen.client",
            address: "127.0.0.1:7101".to_owned(),
            cause: io::Error::from(io::ErrorKind::AddrInUse),
        };
        let message = error.to_string();
        assert!(message.contains("127.0.0.1:7101"), "{message}");
        assert!(
            message.contains("set listen.client to another port"),
            "{message}"
        );
    }
}
