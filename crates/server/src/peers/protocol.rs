//! Which versions of the protocol between nodes two ends can speak, and which they do.
//!
//! Each side says a range in its hello, and both come to the same answer without another message: the newest version
//! in both ranges. So an upgraded node goes on with the others in their version, and all speak the new one as soon as
//! all have it. Dropping an old version is what parts two ends; the refusal says which of them is behind.

use std::fmt;

/// Oldest protocol between nodes that this version speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest protocol between nodes that this version speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// The versions that one side speaks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// The version that both ends of a connection speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u32);

/// Two ends have no version in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{ours} speaks protocol {our_range} between nodes, {theirs} speaks {their_range}: upgrade {behind}"
)]
pub struct NoProtocol {
    /// Who refuses, for people.
    pub ours: String,
    /// What it speaks.
    pub our_range: ProtocolRange,
    /// The other side, for people.
    pub theirs: String,
    /// What that speaks.
    pub their_range: ProtocolRange,
    /// Which of the two is behind.
    pub behind: String,
}

impl Protocol {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ProtocolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

impl ProtocolRange {
    /// What this version speaks.
    pub const SPOKEN: Self = Self {
        min: PROTOCOL_MIN,
        max: PROTOCOL_MAX,
    };

    /// The newest version in both ranges.
    ///
    /// # Errors
    /// [`NoProtocol`] when there is none, or when the other range is none.
    pub(crate) fn agree(
        self,
        ours: impl fmt::Display,
        their_range: Self,
        theirs: impl fmt::Display,
    ) -> Result<Protocol, NoProtocol> {
        let newest = self.max.min(their_range.max);
        if newest >= self.min && newest >= their_range.min {
            return Ok(Protocol(newest));
        }
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let is_theirs_behind = their_range.max < self.min;
        Err(NoProtocol {
            behind: if is_theirs_behind { &theirs } else { &ours }.clone(),
            ours,
            our_range: self,
            theirs,
            their_range,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(min: u32, max: u32) -> ProtocolRange {
        ProtocolRange { min, max }
    }

    #[test]
    fn both_ends_come_to_the_newest_version_that_both_speak() {
        for (ours, theirs, newest) in [
            (range(1, 1), range(1, 1), 1),
            (range(1, 3), range(2, 5), 3),
            (range(2, 5), range(1, 3), 3),
            (range(1, 9), range(4, 4), 4),
        ] {
            assert_eq!(ours.agree("a", theirs, "b"), Ok(Protocol(newest)));
            assert_eq!(theirs.agree("b", ours, "a"), Ok(Protocol(newest)));
        }
    }

    #[test]
    fn ends_without_a_version_in_common_are_told_both_ranges_and_who_is_behind() {
        let refusal = range(3, 4).agree("node n1", range(1, 2), "node n2");
        let message = refusal.unwrap_err().to_string();
        for part in ["3 to 4", "1 to 2", "upgrade node n2"] {
            assert!(message.contains(part), "{message}");
        }
        let refusal = range(1, 2).agree("node n2", range(3, 4), "node n1");
        assert_eq!(refusal.unwrap_err().behind, "node n2");
    }

    #[test]
    fn range_that_is_none_is_refused() {
        assert!(range(1, 1).agree("a", range(2, 1), "b").is_err());
        assert!(range(1, 2).agree("a", range(0, 0), "b").is_err());
    }
}
