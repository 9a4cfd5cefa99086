//! A shard's batches and its whole state.

mod batch;
mod choice;
mod command;
mod job;
mod job_state;
mod snapshot;
mod worker_command;

pub use batch::{decode_batch, encode_batch};
pub use job::{decode_body, decode_header, encode_body, encode_header};
pub use snapshot::{decode_state, encode_state};
