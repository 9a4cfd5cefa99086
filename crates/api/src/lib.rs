//! The wire protocol of Leasehold: generated messages, conversions both ways, and the one table from error codes to
//! gRPC statuses.

/// Messages and services generated from `proto/leasehold/v1`.
#[allow(clippy::all, clippy::wildcard_enum_match_arm, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("leasehold.v1");
}
