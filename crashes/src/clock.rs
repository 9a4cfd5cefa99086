//! The one place of this crate that reads a clock, for waits with a bound and for figures.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver of real processes measures real time"
)]

use std::time::Instant;

/// Now.
pub(crate) fn now() -> Instant {
    Instant::now()
}
