//! Where the session runs: apart from the handlers, so that a busy one cannot keep leases from being renewed.

use std::io;

use futures_util::future::BoxFuture;

/// Starts the session of a worker.
pub trait Spawner: Send + Sync + 'static {
    /// Runs the future until it ends.
    ///
    /// # Errors
    /// When it cannot be started.
    fn spawn(&self, session: BoxFuture<'static, ()>) -> io::Result<()>;
}

/// On a thread of its own, with a runtime of its own: what everybody wants outside simulations.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnThread;

impl Spawner for OwnThread {
    fn spawn(&self, session: BoxFuture<'static, ()>) -> io::Result<()> {
        let builder = std::thread::Builder::new().name("leasehold-session".to_owned());
        builder.spawn(move || run(session)).map(drop)
    }
}

fn run(session: BoxFuture<'static, ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(session),
        // The worker notices by itself: its session is gone.
        Err(error) => tracing::error!(%error, "the worker's session has no runtime"),
    }
}

/// As a task of the runtime that the worker runs on. A handler that blocks it stops the renewals too, and so loses
/// its lease: for simulations, which have one thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct SameRuntime;

impl Spawner for SameRuntime {
    fn spawn(&self, session: BoxFuture<'static, ()>) -> io::Result<()> {
        tokio::spawn(session);
        Ok(())
    }
}
