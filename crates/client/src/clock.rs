//! The one place where the SDK reads a clock.
//!
//! tokio's clock, so that paused and simulated time hold. It is monotonic and, on Linux, stands still while the
//! machine is suspended: a worker that wakes from suspend may believe in a lease that is long over. It then works in
//! vain until its next renewal is answered; the fence keeps its result out.

use tokio::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the seam: everything else is given its instants"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
