//! What all regions must agree on: nodes, regions, shard map, queue policies. Never a job.
//!
//! [`MetadataState`] is what every node holds: `apply` turns one log entry into new state. Around it stand pure
//! readers: [`routing`] says where a job goes, [`controller`] what the metadata leader should change next,
//! [`reconcile`] how a group's real members follow the intent, [`status`] what is still waited for, and why.

mod apply;
pub mod command;
pub mod controller;
mod format;
mod members;
pub mod outcome;
mod parts;
pub mod reconcile;
pub mod records;
pub mod routing;
mod state;
pub mod status;
#[cfg(test)]
mod tests;

pub use command::MetadataCommand;
pub use outcome::{MetadataOutcome, MetadataRefusal};
pub use parts::{MetadataParts, PartsError};
pub use reconcile::MembershipStep;
pub use state::MetadataState;

/// The node that founds a cluster. No entry that adds a node can have this index.
pub const FIRST_NODE: leasehold_types::NodeId = leasehold_types::NodeId::new(1);

/// Slices of the job id space in a cluster whose founder names no other number.
pub const VIRTUAL_SHARDS_DEFAULT: u16 = 256;
/// Slices that every new shard gets: room to move parts of it elsewhere one day.
pub const SLICES_PER_SHARD: u16 = 8;
