//! Tests.
pub(super) mod fixture;
