//! Working jobs: one session with the cluster, and a handler for each job that is leased through it.
//!
//! Three parts, each unable to hold up the others. *Hands* run the handlers, on the runtime of whoever runs the
//! worker. The *session* speaks with a gateway: it runs on a thread of its own, because renewals that stop while a
//! handler is busy cost the lease. In its middle the *desk* decides, purely: what to say, what to start, what to stop.
//!
//! The worker goes by what it can know itself. It counts a lease from when it sent the message that the leader names,
//! less a margin, and drops the work at that instant unless a leader has answered before. It takes answers to
//! renewals, and never a connection, as the sign that somebody is there.

mod builder;
mod deadline;
mod desk;
mod failure;
mod hands;
mod item;
mod lease;
mod line;
mod sent;
mod session;
mod spawner;
mod vitals;

pub use builder::{Worker, WorkerBuilder, WorkerError};
pub use failure::WorkError;
pub use item::WorkItem;
pub use leasehold_core::shard::command::WorkPhase;
pub use spawner::{OwnThread, SameRuntime, Spawner};
