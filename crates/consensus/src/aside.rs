//! Work that takes long, beside the other tasks of its thread.
//!
//! In a runtime of one thread, which is what tests and simulations have, it is done in place.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, spawn_blocking};

fn has_other_threads() -> bool {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    matches!(flavor, Ok(RuntimeFlavor::MultiThread))
}

/// Does rare work that borrows: the thread's other tasks go to another one, which is dear.
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    match has_other_threads() {
        true => block_in_place(work),
        false => work(),
    }
}

/// Does work that waits for a disk on a thread that is kept for such; in place where the runtime has one thread, as in
/// tests and simulations.
pub async fn elsewhere<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    if !has_other_threads() {
        return work();
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "not reached in a simulation, whose runtime has one thread"
    )]
    let working = spawn_blocking(work);
    match working.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is going down, and whoever asked with it.
            Err(_) => pending().await,
        },
    }
}
