//! One replicated state machine on openraft, used by the metadata group and by every shard's group.
//!
//! The server opens a [`Group`] for each group that its node is in, proposes commands to those it leads, looks at their
//! state, and carries the messages between replicas through a [`Transport`]. This is the only crate that names openraft:
//! neither its types nor its errors leave it.
//!
//! - [`Machine`]: what a group replicates. `MetadataState` and `ShardState` of `leasehold-core` are machines.
//! - [`Group`]: opening, proposing, reading, changing members, answering other replicas.
//! - [`GroupStatus`]: who leads, who votes, how far everything is.
//! - [`Timings`]: the two sets of settings, and why they are what they are.
//! - [`Transport`]: the way to other replicas.
//!
//! What must hold: an acknowledged command is on the disks of a majority and never changes place; commands are carried out
//! in one order everywhere; and an outcome that is not known is never called *not done*.

#![warn(missing_docs)]

mod aside;
mod counts;
mod disk;
mod group;
mod keeper;
mod log;
mod machine;
mod machines;
mod network;
mod snapshot;
mod state;
mod status;
mod timings;
mod transport;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use aside::elsewhere;
pub use counts::CheckpointCounts;
pub use group::{
    Applied, ChangeError, Group, GroupOptions, OpenGroupError, ProposeError, ReadError,
};
pub use keeper::Retention;
pub use machine::{LoadError, Machine, MachineError};
pub use machines::{PayloadReader, StoredError};
pub use snapshot::SnapshotParts;
pub use status::{FollowerStatus, GroupStatus, Role};
pub use timings::{Params, Timings};
pub use transport::{Transport, TransportError};
