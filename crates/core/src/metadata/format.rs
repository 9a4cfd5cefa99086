//! Which records the cluster's leaders may write, so that versions can be rolled one node at a time.
//!
//! Each node says with every start the newest records that it reads; what all of them read may be written. Decided
//! while applying, from the log alone, so every replica has the same answer at the same entry.
//!
//! What must hold: the format in force never falls, since what was written under it stays in logs and snapshots; and
//! no node is let in, or comes back, that cannot read it. A node that is gone for good holds the format where it is.

use leasehold_types::RecordFormat;

use super::command::Build;
use super::outcome::MetadataRefusal;
use super::state::MetadataState;

impl MetadataState {
    /// The format of the records that leaders may write now.
    #[must_use]
    pub const fn format(&self) -> RecordFormat {
        self.format
    }

    /// To be called whenever what a node reads may have changed.
    pub(super) fn raise_format(&mut self) {
        let read_by_all = self.nodes().map(|node| node.build.reads).min();
        self.format = self.format.max(read_by_all.unwrap_or_default());
    }

    /// Refuses a version that cannot read what is written here.
    pub(super) fn check_reads(&self, build: &Build) -> Result<(), MetadataRefusal> {
        if build.reads >= self.format {
            return Ok(());
        }
        Err(MetadataRefusal::Unreadable {
            written: self.format,
            read: build.reads,
        })
    }
}
