//! Workers against real nodes: real ports on loopback, real folders, real timings (`lan`).
//!
//! Nothing here sleeps: each step waits for the message, the answer or the state that it needs.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../support/nodes.rs"]
mod nodes;
mod support;

mod attach;
mod lending;
mod pages;
mod session;
mod unary;
