//! The leader's choices: who gets which job next, and when which lease ends.

mod message;

pub use message::{Assignment, Gate, Offer, Renewal, RenewalAnswer};
