//! A shard: the replicated state of its jobs, and the leader's choices about them.
//!
//! [`ShardState`] is what every replica holds: `apply` turns one log entry into new state, by stamps and seeds that
//! the entry carries. [`Dispatcher`] is what only a leader holds, in memory: who offers slots, when leases run out,
//! which tenant is next. It reads the state and proposes commands; it changes nothing itself.

pub mod clock;
pub mod command;
pub mod dispatcher;
pub mod job;
pub mod outcome;
pub mod state;
mod transition;
pub mod view;

#[cfg(test)]
mod tests;

pub use clock::ShardClock;
pub use command::{Batch, Command};
pub use dispatcher::Dispatcher;
pub use outcome::{Applied, Change, Outcome, Refusal, Stale};
pub use state::{Owner, ShardState};
