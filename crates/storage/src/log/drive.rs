//! What runs a [`LogWriter`]: a thread that blocks, or a task that awaits.

use std::io;

use super::writer::LogWriter;

impl LogWriter {
    /// Runs on the calling thread, which should be one of its own, until the log is closed and all that was submitted
    /// is durable. A second thread, started here, prepares and removes segments.
    ///
    /// # Errors
    /// The first error of the disk; the log takes nothing after it.
    pub fn run_blocking(mut self) -> io::Result<()> {
        self.chores.start_helper()?;
        loop {
            while self.step()? {}
            if !self.shared.wait() {
                return self.finish();
            }
        }
    }

    /// Runs as a task until the log is closed and all that was submitted is durable; no thread, no clock. The disk is
    /// used inline. Between the write of a batch and its sync it awaits `pause()`, which stands for the time that the
    /// disk takes.
    ///
    /// Dropped in the middle, it leaves what a crashed process leaves: the last frame written and not synced.
    ///
    /// # Errors
    /// The first error of the disk; the log takes nothing after it.
    pub async fn run<P, F>(mut self, mut pause: P) -> io::Result<()>
    where
        P: FnMut() -> F,
        F: Future<Output = ()>,
    {
        loop {
            while let Some(written) = self.write_next()? {
                pause().await;
                self.sync(written)?;
            }
            self.seal()?;
            if !self.shared.wait_async().await {
                return self.finish();
            }
        }
    }
}
