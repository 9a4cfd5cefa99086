//! One Leasehold node: it takes requests, turns them into commands, has them made durable, and answers once they
//! are applied. Decisions are `core`'s; what is here moves bytes, waits and counts.

pub mod cluster;
pub mod config;
pub mod disk;
mod doors;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod node;
pub mod peers;
mod replica_status;
pub mod seam;
pub mod services;
pub mod shards;
pub mod telemetry;
pub mod workers;
