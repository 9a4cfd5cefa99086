//! What several replicas do together, over a network and disks that the tests command, on simulated time.

mod cluster;
mod conformance;
mod counter;
mod disks;
mod wires;

mod applying;
mod elections;
mod faults;
mod members;
mod outcomes;
mod recovery;
mod room;
mod snapshots;
mod traps;

pub(crate) use counter::Counter;
pub(crate) use disks::HeldLog;
