//! What is written can be read again, and whatever is read never panics.
#![allow(clippy::unwrap_used, reason = "what tests share may unwrap as they do")]

mod batches;
mod damage;
mod formats;
mod metadata;
mod replicas;
mod rows;
mod values;
