//! What a checkpoint promises, over a folder of the operating system and over a simulated one with its faults.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod commits;
mod crashes;
mod damage;
mod faults;
mod model;
mod readers;
mod replacing;
mod space;
mod support;
mod values;
