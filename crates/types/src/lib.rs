//! The words that every Leasehold crate shares: ids, epochs, fence tokens, time, limits and error codes.
//!
//! Everything here is a plain value: no clock, no randomness, no I/O. Ids and counters are newtypes with
//! private fields, so that a shard's epoch can never be passed where a job's attempt is meant.

#![warn(missing_docs)]

mod boot;
mod digest;
mod epoch;
mod error_code;
mod format;
mod ids;
pub mod limits;
mod names;
mod time;

pub use boot::{Boot, BootMark, BootStanding};
pub use digest::{Digest, ParseDigestError};
pub use epoch::{BootCount, FenceToken, Incarnation, ParseFenceTokenError, ShardEpoch};
pub use error_code::ErrorCode;
pub use format::RecordFormat;
pub use ids::{ClusterId, GroupId, JobId, NodeId, ParseIdError, SessionId, ShardId, VirtualShard};
pub use names::{IdempotencyKey, NameError, QueueName, RegionName, TenantName, WorkerName};
pub use time::Timestamp;
