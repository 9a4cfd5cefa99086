//! Why a message cannot be taken.

use leasehold_core::requirement::RequirementError;
use leasehold_types::{Digest, NameError, ParseDigestError, ParseFenceTokenError, ParseIdError};

/// Why a message from the wire cannot be taken. Always the sender's to fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that has to be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field, as the protocol calls it.
        field: &'static str,
    },
    /// A text or a run of bytes that is not what its field holds.
    #[error("{field}: {source}")]
    Malformed {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// What is wrong with it.
        source: Malformed,
    },
    /// A number or a size over its bound.
    #[error("{field} is {given} {unit}, at most {most} are taken")]
    OverLimit {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// How much was given.
        given: u64,
        /// How much is taken.
        most: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// The labels and capacities break a bound.
    #[error("{field}: {source}")]
    Labels {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// Which bound.
        source: RequirementError,
    },
    /// The digest given is not the content's.
    #[error("{field} is not the SHA-256 of the content that came with it, which is {computed}")]
    OtherDigest {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// The content's.
        computed: Digest,
    },
    /// An enum was left at its zero where a value is needed.
    #[error("{field} is unspecified: name one of its values")]
    Unspecified {
        /// The field, as the protocol calls it.
        field: &'static str,
    },
    /// A number that no value of the enum has: the sender may be newer.
    #[error("{field} has the value {number}, which this version does not know")]
    UnknownValue {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// What was given.
        number: i32,
    },
    /// A text that is none of a few.
    #[error("{field} is {given:?}: give {expected}")]
    Choice {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// What was given, cut to 64 characters.
        given: String,
        /// What would have been taken.
        expected: &'static str,
    },
}

/// What is wrong with a text or a run of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not an id.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not a fence token.
    #[error(transparent)]
    Fence(#[from] ParseFenceTokenError),
    /// Not a digest.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

impl ConvertError {
    pub(super) fn choice(field: &'static str, given: &str, expected: &'static str) -> Self {
        let given = given.chars().take(64).collect();
        Self::Choice {
            field,
            given,
            expected,
        }
    }
}
