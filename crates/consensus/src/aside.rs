//! Work that takes long, beside the other tasks of its thread.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Does work that takes long without holding up the other tasks of its thread. In a runtime of one thread, which is
/// what tests and simulations have, it is done in place.
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        return block_in_place(work);
    }
    work()
}
