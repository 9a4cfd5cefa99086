//! Real processes: nodes and workers on loopback, as people run them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bench;
mod cli;
mod exec;
mod failover;
mod harness;
mod measure;
mod starts;
