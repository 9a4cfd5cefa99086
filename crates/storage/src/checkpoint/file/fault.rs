//! What went wrong with a checkpoint's file, in a form that can be told again and again.

use std::io;
use std::sync::{Arc, OnceLock};

/// Why a file can no longer be used.
#[derive(Debug, Clone)]
pub(in crate::checkpoint) enum Fault {
    /// What is in it is not what was written.
    Corrupt { offset: u64, reason: &'static str },
    /// A later version wrote it.
    NewerFormat { found: u32 },
    /// The disk said no.
    Io {
        action: &'static str,
        source: Arc<io::Error>,
    },
    /// The disk is full; what was committed is untouched.
    Full {
        action: &'static str,
        source: Arc<io::Error>,
    },
    /// A sync failed: what is on the disk is not known.
    Sync { source: Arc<io::Error> },
}

impl Fault {
    pub(super) const fn corrupt(offset: u64, reason: &'static str) -> Self {
        Self::Corrupt { offset, reason }
    }

    pub(super) fn io(action: &'static str, error: io::Error) -> Self {
        if is_full(&error) {
            let source = Arc::new(error);
            return Self::Full { action, source };
        }
        let source = Arc::new(error);
        Self::Io { action, source }
    }

    pub(in crate::checkpoint) fn of_failed_sync(error: io::Error) -> Self {
        let source = Arc::new(error);
        Self::Sync { source }
    }

    /// The same for redb, which passes it up or not: what we report is taken from the file, not from there.
    pub(super) fn to_io(&self) -> io::Error {
        match self {
            Self::Corrupt { reason, .. } => io::Error::new(io::ErrorKind::InvalidData, *reason),
            Self::NewerFormat { .. } => io::Error::from(io::ErrorKind::Unsupported),
            Self::Io { source, .. } | Self::Full { source, .. } | Self::Sync { source } => {
                again(source)
            }
        }
    }
}

/// Whether there was no room.
pub(in crate::checkpoint) fn is_full(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded
}

/// The same error of the disk once more.
pub(in crate::checkpoint) fn again(source: &Arc<io::Error>) -> io::Error {
    io::Error::new(source.kind(), Arc::clone(source))
}

/// The first fault of a file; there may be more, which then are its consequences.
#[derive(Default)]
pub(super) struct FirstFault(OnceLock<Fault>);

impl FirstFault {
    pub(super) fn get(&self) -> Option<Fault> {
        self.0.get().cloned()
    }

    /// Keeps a fault unless there is one, and says which it is now.
    pub(super) fn put(&self, fault: Fault) -> &Fault {
        self.0.get_or_init(|| fault)
    }
}
