//! The two machines that Leasehold replicates: the metadata and a shard.
//!
//! Only glue: the decisions are `leasehold-core`'s, the bytes are `leasehold-records`'s.

mod metadata;
mod shard;

pub use shard::{PayloadReader, StoredError};
