//! Numbers that name things: clusters, nodes, groups, shards, sessions and jobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {kind} {text:?}: expected {expected}")]
pub struct ParseIdError {
    /// What was being parsed, for example `job id`.
    pub kind: &'static str,
    /// What was given, cut to 64 characters.
    pub text: String,
    /// The form that would have been right.
    pub expected: &'static str,
}

impl ParseIdError {
    pub(crate) fn new(kind: &'static str, text: &str, expected: &'static str) -> Self {
        let text = text.chars().take(64).collect();
        Self {
            kind,
            text,
            expected,
        }
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal, $kind:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .unwrap_or(text)
                    .parse()
                    .map(Self)
                    .map_err(|_| ParseIdError::new($kind, text, $expected))
            }
        }
    };
}

number_id!(
    /// A node: 1 for the founder, else the index of the metadata log entry that added it. Never reused.
    NodeId(u64), "n", "node id", "n and a number, such as n3"
);
number_id!(
    /// A shard of the queues' jobs. Numbers start at 1: group 0 is the metadata.
    ShardId(u32), "s", "shard id", "s and a number, such as s1"
);
number_id!(
    /// A slice of the job id space, fixed when the cluster is founded and mapped to shards in metadata.
    VirtualShard(u16), "v", "virtual shard", "v and a number below 65536, such as v12"
);
number_id!(
    /// A Raft group: 0 is the metadata group, every other number is the shard of that number.
    GroupId(u32), "g", "group id", "g and a number, such as g0"
);

impl GroupId {
    /// The group of the cluster's metadata.
    pub const METADATA: Self = Self(0);

    /// The group that replicates a shard.
    #[must_use]
    pub const fn of_shard(shard: ShardId) -> Self {
        Self(shard.get())
    }

    /// The shard that this group replicates; none for the metadata group.
    #[must_use]
    pub const fn shard(self) -> Option<ShardId> {
        match self.0 {
            0 => None,
            number => Some(ShardId::new(number)),
        }
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u128);

        impl $name {
            /// Wraps 128 bits that the caller drew at random.
            #[must_use]
            pub const fn from_random(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits themselves.
            #[must_use]
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = || ParseIdError::new($kind, text, $expected);
                let hex = text.strip_prefix($prefix).ok_or_else(wrong)?;
                if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                u128::from_str_radix(hex, 16).map(Self).map_err(|_| wrong())
            }
        }
    };
}

hex_id!(
    /// A cluster: drawn at random when it is founded; every peer message and data folder carries it.
    ClusterId, "c-", "cluster id", "c- and 32 hexadecimal digits"
);
hex_id!(
    /// One worker's connection to the cluster, minted by the worker. Outlives a gateway, not the worker.
    SessionId, "w-", "session id", "w- and 32 hexadecimal digits"
);

/// A job: the virtual shard that holds it, and 96 random bits minted by whoever submits.
///
/// The id is its own idempotency key: a submit repeated with the same id finds the first job.
/// Text form: four hexadecimal digits of the virtual shard, a dash, 24 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    virtual_shard: VirtualShard,
    random: [u8; 12],
}

impl JobId {
    /// How many bytes [`JobId::to_bytes`] gives.
    pub const LENGTH: usize = 14;

    /// Puts an id together from its virtual shard and 96 bits that the caller drew at random.
    #[must_use]
    pub const fn new(virtual_shard: VirtualShard, random: [u8; 12]) -> Self {
        Self {
            virtual_shard,
            random,
        }
    }

    /// The slice of the id space that this job belongs to.
    #[must_use]
    pub const fn virtual_shard(&self) -> VirtualShard {
        self.virtual_shard
    }

    /// Big-endian virtual shard, then the random bits: the order of the bytes is the order of the ids.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..2].copy_from_slice(&self.virtual_shard.get().to_be_bytes());
        bytes[2..].copy_from_slice(&self.random);
        bytes
    }

    /// Reads back what [`JobId::to_bytes`] gave.
    ///
    /// # Errors
    /// When there are not exactly 14 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseIdError> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().map_err(|_| {
            ParseIdError::new("job id", &format!("{} bytes", bytes.len()), "14 bytes")
        })?;
        let mut random = [0; 12];
        random.copy_from_slice(&bytes[2..]);
        let shard = u16::from_be_bytes([bytes[0], bytes[1]]);
        Ok(Self::new(VirtualShard::new(shard), random))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}-", self.virtual_shard.get())?;
        self.random
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || {
            ParseIdError::new(
                "job id",
                text,
                "4 hexadecimal digits, a dash and 24 more, such as 00a1-0123456789abcdef01234567",
            )
        };
        let (shard, random) = text.split_once('-').ok_or_else(wrong)?;
        let all_hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
        if shard.len() != 4 || random.len() != 24 || !all_hex(shard) || !all_hex(random) {
            return Err(wrong());
        }
        let shard = u16::from_str_radix(shard, 16).map_err(|_| wrong())?;
        let bits = u128::from_str_radix(random, 16).map_err(|_| wrong())?;
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&bits.to_be_bytes()[4..]);
        Ok(Self::new(VirtualShard::new(shard), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn job_id_survives_text_and_bytes(shard: u16, random: [u8; 12]) {
            let id = JobId::new(VirtualShard::new(shard), random);
            prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            prop_assert_eq!(JobId::from_bytes(&id.to_bytes()).unwrap(), id);
        }

        #[test]
        fn arbitrary_text_never_panics_an_id_parser(text in ".{0,80}") {
            let _ = text.parse::<JobId>();
            let _ = text.parse::<ClusterId>();
            let _ = text.parse::<NodeId>();
        }
    }

    #[test]
    fn malformed_job_id_is_named_with_the_right_form() {
        let error = "nonsense".parse::<JobId>().unwrap_err().to_string();
        assert!(
            error.contains("nonsense") && error.contains("24 more"),
            "{error}"
        );
        assert!("+0a1-0123456789abcdef01234567".parse::<JobId>().is_err());
    }

    #[test]
    fn group_zero_is_metadata_and_no_shard() {
        assert_eq!(GroupId::METADATA.shard(), None);
        assert_eq!(
            GroupId::of_shard(ShardId::new(3)).shard(),
            Some(ShardId::new(3))
        );
    }
}
