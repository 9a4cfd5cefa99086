//! The metadata's commands and its whole state.

mod command;
mod record;
mod state;

pub use command::{decode_command, encode_command};
pub use state::{decode_state, encode_state};
