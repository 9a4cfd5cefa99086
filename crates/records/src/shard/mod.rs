//! A shard's batches, and the rows of its checkpoint.

mod attempt;
mod batch;
mod bundle;
mod choice;
mod command;
mod head;
mod job_state;
mod run;
mod worker_command;

pub use attempt::{decode_pack, encode_pack};
pub use batch::{decode_batch, encode_batch};
pub use bundle::{decode_bundle, encode_bundle};
pub use head::{decode_head, encode_head};
pub use run::{Reader, encode_run};
