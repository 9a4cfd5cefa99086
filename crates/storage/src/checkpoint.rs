//! Checkpoints: what a group's state was at one point of its log, one transactional database a group.
//!
//! A checkpoint holds rows under keys, in tables, and one *head*: whatever the caller needs to know about the commit
//! as a whole. It changes by [`Writing`]s, each of which lands whole or not at all, and is read through [`View`]s, each
//! pinned to one commit. The B-tree and its transactions are redb's; what is ours is the file below it (`file`): every
//! block has a checksum that is checked whenever it is read, which redb does not do, and syncs are small ones, so that a
//! commit does not stand in the log's way.
//!
//! A commit costs what it changes, and not what the checkpoint holds, but for redb's map of free pages: each commit
//! writes all of it, so that no opening has to walk the trees. That is 64 to 128 KiB for each GiB of the file.
//!
//! A group's file is `checkpoint-g3`; one that is being received stands beside it as `checkpoint-g3.incoming`, and one
//! that is being made or compacted as `checkpoint-g3.tmp`. Either takes the place of the first by a rename.
//!
//! The values of some tables lie in files of their own, `checkpoint-g3.values-17` (`values`). They are no less part of the
//! commit.
//!
//! What must always hold: after a crash at any point the last commit that was acknowledged is there, whole, or one
//! that was under way, whole; a failed sync ends the checkpoint until the process starts again; and what comes back is
//! what was written, or an error that names the file and the offset.
//!
//! Nothing is tidied when a checkpoint is closed: opening one after a crash and opening one after a stop are the same.

mod batch;
mod compact;
mod database;
mod error;
mod file;
mod gather;
mod handle;
mod pending;
mod store;
mod values;
mod view;
mod writing;

pub use error::CheckpointError;
pub use file::CHECKPOINT_FORMAT;
pub use handle::Checkpoint;
pub use store::CheckpointStore;
pub use view::{Rows, View};
pub use writing::Writing;

/// The longest name of a table, in bytes.
const TABLE_NAME_MAX: usize = 32;

/// Name of a table. Names are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    name: &'static str,
    is_apart: bool,
}

impl Table {
    /// A table of this name: 1 to 32 ASCII letters, digits, dashes and underscores.
    ///
    /// # Panics
    /// With another name; where the table is a constant, when it is compiled.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= TABLE_NAME_MAX,
            "the name of a table has 1 to 32 characters"
        );
        let mut at = 0;
        while at < bytes.len() {
            let is_plain =
                bytes[at].is_ascii_alphanumeric() || bytes[at] == b'-' || bytes[at] == b'_';
            assert!(
                is_plain,
                "the name of a table is letters, digits, dashes and underscores"
            );
            at += 1;
        }
        let is_apart = false;
        Self { name, is_apart }
    }

    /// The same, whose values lie in files of their own, apart from the tree: for values of some kilobytes, most of which
    /// are written once, read once, and go together with their neighbours. One of a few bytes is better off in the tree.
    #[must_use]
    pub const fn apart(self) -> Self {
        let is_apart = true;
        Self { is_apart, ..self }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Of the rows with pointers to its values.
    fn pointers(self) -> Option<String> {
        self.is_apart.then(|| pointers(self.name))
    }
}

/// The rows of a table that point to its values. No caller's table has a colon in its name.
fn pointers(table: &str) -> String {
    format!("{table}:apart")
}

/// How a checkpoint uses memory and the disk.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointOptions {
    /// Bytes of a file's rows kept in memory, half of them at most not yet written. Default 64 MiB. A group has a second
    /// file while one is compacted or received, and one that was replaced as long as a view of it is there.
    pub cache_bytes: usize,
    /// Bytes written between two syncs ahead of the commit, so that none of them is long. Default 8 MiB.
    pub sync_every: u64,
    /// Length of a file in bytes below which compacting it is never worth the work. Default 64 MiB.
    pub compact_from: u64,
    /// Bytes after which a new value file is begun, or later where there would be more than some dozens. Default 64 MiB.
    pub value_file_bytes: u64,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            sync_every: 8 * 1024 * 1024,
            compact_from: 64 * 1024 * 1024,
            value_file_bytes: 64 * 1024 * 1024,
        }
    }
}
