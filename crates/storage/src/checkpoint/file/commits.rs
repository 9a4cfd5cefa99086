//! What became of a commit: told by the header that was written, and by the one that was synced.
//!
//! redb ends a commit with an error also when only the tidying after it failed, for lack of space for instance. The
//! commit counts all the same, and whoever made it again would have been told the opposite of what happened. Its header
//! knows: a commit counts from the sync of the header that names it, and not before that header is written.

use std::sync::atomic::{AtomicBool, Ordering};

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) enum Outcome {
    /// It did not happen, and nothing can make it happen any more.
    CertainlyNot,
    /// It counts, durably.
    Durable,
    /// Its header is on its way.
    Unknown,
}

/// Which of redb's two commits counts.
#[derive(Default)]
pub(super) struct Counting {
    written: AtomicBool,
    synced: AtomicBool,
}

impl Counting {
    /// By the header of a file that is opened.
    pub(super) fn is_found(&self, counting: bool) {
        self.is_written(counting);
        self.is_synced(counting);
    }

    /// By the header that was written now.
    pub(super) fn is_written(&self, counting: bool) {
        self.written.store(counting, Ordering::Release);
    }

    /// By the header that was written when a sync began that succeeded.
    pub(super) fn is_synced(&self, counting: bool) {
        self.synced.store(counting, Ordering::Release);
    }

    /// By the header that was written last.
    pub(super) fn written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// What became of a commit before which this one counted.
    pub(super) fn outcome(&self, before: bool) -> Outcome {
        let synced = self.synced.load(Ordering::Acquire);
        match (self.written() == before, synced == before) {
            (true, _) => Outcome::CertainlyNot,
            (false, false) => Outcome::Durable,
            (false, true) => Outcome::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_counts_from_the_sync_of_its_header_on() {
        let counting = Counting::default();
        counting.is_found(true);
        assert_eq!(counting.outcome(true), Outcome::CertainlyNot);
        counting.is_written(false);
        assert_eq!(counting.outcome(true), Outcome::Unknown);
        counting.is_synced(counting.written());
        assert_eq!(counting.outcome(true), Outcome::Durable);
    }
}
