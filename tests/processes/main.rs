//! Real processes: nodes and workers on loopback, as people run them.

mod cli;
mod exec;
mod failover;
mod harness;
mod measure;
mod starts;
