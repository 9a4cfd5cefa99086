//! What went wrong with a checkpoint's file, in a form that can be told again and again.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::disk::is_for_space;

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
    /// The disk is full; what was committed is untouched. Never of a sync: whether that did nothing is not known.
    Full {
        action: &'static str,
        source: Arc<io::Error>,
    },
    /// A sync failed: what is on the disk is not known.
    Sync { source: Arc<io::Error> },
    /// Of another file, which it cannot do without.
    Of { file: Arc<str>, fault: Box<Self> },
}

impl Fault {
    pub(in crate::checkpoint) const fn corrupt(offset: u64, reason: &'static str) -> Self {
        Self::Corrupt { offset, reason }
    }

    pub(in crate::checkpoint) fn io(action: &'static str, error: io::Error) -> Self {
        if is_for_space(error.kind()) {
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

    /// The same of another file.
    pub(in crate::checkpoint) fn of(self, file: &Arc<str>) -> Self {
        Self::Of {
            file: Arc::clone(file),
            fault: Box::new(self),
        }
    }

    /// Whether there was no room.
    pub(in crate::checkpoint) fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Of { fault, .. } => fault.is_full(),
            Self::Corrupt { .. }
            | Self::NewerFormat { .. }
            | Self::Io { .. }
            | Self::Sync { .. } => false,
        }
    }

    /// Whether a sync failed.
    pub(in crate::checkpoint) fn is_of_sync(&self) -> bool {
        match self {
            Self::Sync { .. } => true,
            Self::Of { fault, .. } => fault.is_of_sync(),
            Self::Corrupt { .. }
            | Self::NewerFormat { .. }
            | Self::Io { .. }
            | Self::Full { .. } => false,
        }
    }

    /// The same for redb, which passes it up or not: what we report is taken from the file, not from there.
    pub(super) fn to_io(&self) -> io::Error {
        match self {
            Self::Corrupt { reason, .. } => io::Error::new(io::ErrorKind::InvalidData, *reason),
            Self::NewerFormat { .. } => io::Error::from(io::ErrorKind::Unsupported),
            Self::Io { source, .. } | Self::Full { source, .. } | Self::Sync { source } => {
                again(source)
            }
            Self::Of { fault, .. } => fault.to_io(),
        }
    }
}

/// The same error of the disk once more.
pub(in crate::checkpoint) fn again(source: &Arc<io::Error>) -> io::Error {
    io::Error::new(source.kind(), Arc::clone(source))
}

/// The first fault of a file; there may be more, which then are its consequences. Clones are of the same file.
#[derive(Clone, Default)]
pub(in crate::checkpoint) struct FirstFault(Arc<OnceLock<Fault>>);

impl FirstFault {
    pub(in crate::checkpoint) fn get(&self) -> Option<Fault> {
        self.0.get().cloned()
    }

    /// Keeps a fault unless there is one, and says which it is now.
    pub(in crate::checkpoint) fn put(&self, fault: Fault) -> &Fault {
        self.0.get_or_init(|| fault)
    }
}
