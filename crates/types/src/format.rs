//! The version of what replicas write for each other: commands in the logs, whole states in snapshots.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the records that replicas read and write, and of what applying them does.
///
/// A node says the newest that it reads. The cluster writes the newest that all of its nodes read, so that versions
/// can be rolled one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordFormat(u32);

impl RecordFormat {
    /// The first that there was.
    pub const FIRST: Self = Self(1);

    /// The number that was sent or stored; 0, which is also what an absent one reads as, is the first.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(if number == 0 { 1 } else { number })
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for RecordFormat {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for RecordFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
