//! Why bytes are not what they were taken for.

use leasehold_core::metadata;

/// Why bytes could not be read. Every variant names the message, as it stands in `proto/leasehold/store/v1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf message of that kind, or end too early.
    #[error("{message} is damaged")]
    Malformed {
        /// The message.
        message: &'static str,
        /// Where protobuf gave up.
        source: prost::DecodeError,
    },
    /// A field that every writer sets is not there.
    #[error("{message}.{field} is missing, or of a kind that this version does not know")]
    Missing {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field breaks the rules of its type.
    #[error("{message}.{field} is out of bounds: {reason}")]
    Invalid {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The rule.
        reason: String,
    },
    /// A command that a newer version wrote.
    #[error(
        "{message} is of kind {number}, which this version does not know: start a newer version"
    )]
    UnknownKind {
        /// The message.
        message: &'static str,
        /// The number of the field that holds the kind.
        number: usize,
    },
    /// Rows that a newer version wrote.
    #[error(
        "{message} has format {format}, this version reads up to {known}: start a newer version"
    )]
    UnknownFormat {
        /// The message.
        message: &'static str,
        /// The format that was found.
        format: u32,
        /// The newest format that is known.
        known: u32,
    },
    /// Each record can be read, but together they are no state of the metadata.
    #[error("the metadata snapshot contradicts itself")]
    Metadata(#[from] metadata::PartsError),
}
