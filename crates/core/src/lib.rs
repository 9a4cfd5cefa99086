//! Every decision of Leasehold, as synchronous functions of state, input and time.
//!
//! Nothing here reads a clock, draws a random number, does I/O or waits: the caller brings time, seeds and ids as
//! values, so that replicas agree, a seed repeats a run, and a test needs no runtime.
#![warn(missing_docs)]

pub mod lending;
pub mod metadata;
pub mod policy;
pub mod requirement;
pub mod retry;
pub mod shard;
