//! The one place where the measuring client reads a clock.

use std::time::Instant;

/// Monotonic; good to some tens of nanoseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is of real time, and this is its one seam"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
