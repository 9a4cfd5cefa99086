//! One start of a data folder, told from all others of the same node.
//!
//! The count alone tells an old copy from the newest folder once the newest has started since. It cannot tell two
//! copies that are started from the same count: both raise it to the same number. So each start also draws a random
//! mark, and whoever was seen first under a count is the one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::BootCount;

/// Drawn at random at each start of a data folder; 0 stands for one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootMark(u64);

impl BootMark {
    /// The mark of a start of which only the count is known.
    pub const UNKNOWN: Self = Self(0);

    /// Wraps 64 bits that the caller drew at random. 0 becomes 1, since it stands for no mark.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    /// Wraps a number that was sent or stored.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This mark, or the other one where this is not known.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::UNKNOWN => other,
            known => known,
        }
    }

    /// Whether both are known, and are different.
    const fn contradicts(self, other: Self) -> bool {
        self.0 != other.0 && self.0 != 0 && other.0 != 0
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Boot {
    /// Which start it is.
    pub count: BootCount,
    /// Which of those that show this count.
    pub mark: BootMark,
}

/// What a start is beside the newest one that was seen of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootStanding {
    /// It came later.
    Newer,
    /// It is that one, as far as can be told.
    Same,
    /// It came earlier: an old copy of the folder.
    Older,
    /// It shows the same count and is another start: one of the two is a copy.
    Twin,
}

impl Boot {
    /// Holds a start against the newest one seen.
    #[must_use]
    pub fn standing(self, seen: Self) -> BootStanding {
        match self.count.cmp(&seen.count) {
            std::cmp::Ordering::Greater => BootStanding::Newer,
            std::cmp::Ordering::Less => BootStanding::Older,
            std::cmp::Ordering::Equal if self.mark.contradicts(seen.mark) => BootStanding::Twin,
            std::cmp::Ordering::Equal => BootStanding::Same,
        }
    }
}

/// A start of which only the count is known.
impl From<BootCount> for Boot {
    fn from(count: BootCount) -> Self {
        let mark = BootMark::UNKNOWN;
        Self { count, mark }
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(count: u64, mark: u64) -> Boot {
        Boot {
            count: BootCount::new(count),
            mark: BootMark::new(mark),
        }
    }

    #[test]
    fn later_start_is_newer_and_an_earlier_one_an_old_copy_whatever_their_marks() {
        for mark in 0..3 {
            assert_eq!(boot(6, mark).standing(boot(5, 1)), BootStanding::Newer);
            assert_eq!(boot(4, mark).standing(boot(5, 1)), BootStanding::Older);
        }
    }

    #[test]
    fn two_starts_under_one_count_are_twins_once_both_marks_are_known() {
        assert_eq!(boot(5, 2).standing(boot(5, 1)), BootStanding::Twin);
        assert_eq!(boot(5, 1).standing(boot(5, 1)), BootStanding::Same);
        assert_eq!(boot(5, 2).standing(boot(5, 0)), BootStanding::Same);
        assert_eq!(boot(5, 0).standing(boot(5, 1)), BootStanding::Same);
        assert_ne!(BootMark::from_random(0), BootMark::UNKNOWN);
    }
}
