//! One replicated state machine on openraft, used by the metadata group and by every shard's group.
//!
//! The server opens a [`Group`] for each group that its node is in, proposes commands to those it leads, looks at their
//! state, and carries the messages between replicas through a [`Transport`]. This is the only crate that names openraft:
//! neither its types nor its errors leave it.
//!
//! - [`machine`]: what a group replicates.
//! - [`group`](Group): opening, proposing, reading, changing members, answering peers.
//! - [`timings`](Timings): the two sets of settings, and why they are what they are.
//! - [`transport`](Transport): the way to other replicas.
//!
//! What must hold: an acknowledged command is on the disks of a majority and never changes place; commands are carried out
//! in one order everywhere; and an outcome that is not known is never called *not done*.

#![warn(missing_docs)]

mod disk;
mod group;
mod log;
mod machine;
mod network;
mod state;
mod status;
mod timings;
mod transport;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use group::{
    Applied, ChangeError, Group, GroupOptions, OpenGroupError, ProposeError, ReadError,
};
pub use machine::{Machine, MachineError};
pub use status::{FollowerStatus, GroupStatus, Role};
pub use timings::{Params, Timings};
pub use transport::{Transport, TransportError};
