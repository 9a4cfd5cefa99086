//! What must hold of a shard, rule by rule, and under random histories.

mod astray;
mod bundles;
mod checkpoints;
mod desk;
mod dispatching;
mod eager;
mod ends;
mod faults;
mod fences;
pub(super) mod fixture;
mod histories;
mod invariants;
mod keeping;
mod leasing;
mod model;
mod model_agrees;
mod portions;
mod reading;
mod slots;
mod store;
mod submits;
mod takeovers;
mod world;
