//! Protobuf encodings of what Leasehold keeps on disk: commands for the logs, rows for checkpoints.
//!
//! The messages stand in `proto/leasehold/store/v1`; here they are turned into the values of `leasehold-core` and
//! back. Values are checked on the way in, so that whatever comes out of a decoder has the bounds of its types:
//! damaged bytes end in a [`DecodeError`] that names the message and the field, never in a panic. Equal values have
//! equal bytes. A field that this version does not know is skipped, so that versions can be rolled one node at a
//! time; a kind of command that it does not know is an error, since to leave a command out would split replicas.
//!
//! Payloads are not copied when a batch is read: they are slices of the bytes that were given, and keep those in memory.
#![warn(missing_docs)]

mod common;
mod error;
mod field;
pub mod metadata;
pub mod shard;

pub use error::DecodeError;

/// The newest records that this version reads. Raised together with a new kind of command, with a field that replicas
/// must not skip, and with any change to what applying a command does; such a change is in force once the cluster's
/// [format](leasehold_core::metadata::MetadataState::format) has risen.
pub const NEWEST: leasehold_types::RecordFormat = leasehold_types::RecordFormat::FIRST;

/// Messages generated from `proto/leasehold/store/v1`.
pub mod store {
    /// The first disk format.
    #[allow(clippy::all, missing_docs, unreachable_pub)]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/leasehold.store.v1.rs"));
    }
}
