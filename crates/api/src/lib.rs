//! The wire protocol of Leasehold: generated messages, conversions both ways, and the one table from error codes to
//! gRPC statuses.
//!
//! Nothing here decides about jobs. A conversion checks what can be checked on the message alone (its form and the
//! bounds of `leasehold_types::limits`) and names the field that broke a rule; whether the request makes sense for
//! a job is `core`'s business. Maps are ordered on purpose: the same value always has the same bytes.

pub mod convert;
pub mod status;

pub use convert::ConvertError;
pub use status::ApiError;

/// Messages and services generated from `proto/leasehold/v1`.
#[allow(
    clippy::all,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub
)]
pub mod v1 {
    tonic::include_proto!("leasehold.v1");
}
