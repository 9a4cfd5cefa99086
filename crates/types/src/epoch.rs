//! Who may write: epochs, incarnations and the fence tokens made from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One leadership of one shard, issued by the shard's own log when it applies `LeaderStart`.
///
/// Never a Raft term: openraft may have several leaders in one term, and a restarted leader can resume its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ShardEpoch(u64);

impl ShardEpoch {
    /// Before the first leadership.
    pub const ZERO: Self = Self(0);

    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The leadership after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ShardEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// Rises only on a forced recovery or a restore, so that a cut-off old majority can never win again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Incarnation(u16);

impl Incarnation {
    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// How often a data folder was started. Peers refuse a node that shows fewer boots than they have seen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootCount(u64);

impl BootCount {
    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BootCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot {}", self.0)
    }
}

/// The number that proves which lease a write belongs to. Compared field by field, in the order written.
///
/// Rises strictly with every lease that a shard grants, over leaders, restarts and recoveries; every write under
/// an older one is refused. After Kleppmann, "How to do distributed locking" (2016), with the epoch in front so
/// that a new leader needs no memory of the old one's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FenceToken {
    incarnation: Incarnation,
    epoch: ShardEpoch,
    sequence: u64,
}

impl FenceToken {
    /// Puts a token together. Only a shard's `apply` issues new ones.
    #[must_use]
    pub const fn new(incarnation: Incarnation, epoch: ShardEpoch, sequence: u64) -> Self {
        Self {
            incarnation,
            epoch,
            sequence,
        }
    }

    /// The first field compared.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The leadership that granted the lease.
    #[must_use]
    pub const fn epoch(&self) -> ShardEpoch {
        self.epoch
    }

    /// The grant's number within its epoch.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for FenceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incarnation, epoch) = (self.incarnation.get(), self.epoch.get());
        write!(f, "f{incarnation}.{epoch}.{}", self.sequence)
    }
}

/// Why a text is not a fence token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed fence token {0:?}: expected f, then three numbers with dots, such as f0.7.42")]
pub struct ParseFenceTokenError(String);

impl FromStr for FenceToken {
    type Err = ParseFenceTokenError;

    fn from_str(text: &str) -> Result<Self, ParseFenceTokenError> {
        let wrong = || ParseFenceTokenError(text.chars().take(64).collect());
        let mut parts = text.strip_prefix('f').ok_or_else(wrong)?.splitn(3, '.');
        let mut part = || parts.next().ok_or_else(wrong);
        let (incarnation, epoch, sequence) = (part()?, part()?, part()?);
        Ok(Self::new(
            Incarnation::new(incarnation.parse().map_err(|_| wrong())?),
            ShardEpoch::new(epoch.parse().map_err(|_| wrong())?),
            sequence.parse().map_err(|_| wrong())?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(incarnation: u16, epoch: u64, sequence: u64) -> FenceToken {
        FenceToken::new(
            Incarnation::new(incarnation),
            ShardEpoch::new(epoch),
            sequence,
        )
    }

    #[test]
    fn fences_compare_incarnation_then_epoch_then_sequence() {
        assert!(fence(1, 0, 0) > fence(0, 9, 9));
        assert!(fence(0, 2, 0) > fence(0, 1, 9));
        assert!(fence(0, 1, 2) > fence(0, 1, 1));
    }

    #[test]
    fn fence_survives_its_text() {
        let token = fence(2, 7, 42);
        assert_eq!(token.to_string(), "f2.7.42");
        assert_eq!("f2.7.42".parse(), Ok(token));
        assert!("f2.7".parse::<FenceToken>().is_err());
        assert!("f70000.7.1".parse::<FenceToken>().is_err());
    }
}
