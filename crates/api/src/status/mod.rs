//! Errors as they cross the wire, and the one table from their codes to gRPC statuses.
//!
//! A status carries the whole [`v1::Error`](crate::v1::Error) in its details, inside a `google.rpc.Status` as the
//! gRPC richer error model has it, so that other tools can read it too: the gRPC code alone cannot tell a stale
//! fence from another failed precondition, nor "not the leader" from "no leader".
//!
//! What must hold: an error never claims more than is known. A status without our details comes from something
//! between the two ends, and then only a connection that was never made, or a refusal that by its code was made
//! before the request was looked at, counts as *certainly not done*; all else is *unknown*.

mod details;
mod error;
mod table;

pub use error::ApiError;
pub use table::{grpc_code, is_certainly_unsent};
