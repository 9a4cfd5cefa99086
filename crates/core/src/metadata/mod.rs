//! What all regions must agree on: nodes, regions, shard map, queue policies. Never a job.

pub mod command;
pub mod outcome;
pub mod records;

pub use command::MetadataCommand;
pub use outcome::{MetadataOutcome, MetadataRefusal};
