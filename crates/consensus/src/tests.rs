//! What several replicas do together, over a network and disks that the tests command.

mod counter;

pub(crate) use counter::Counter;
