//! What runs a [`LogWriter`]: a thread that blocks, or a task that awaits.

use std::io;
use std::time::Duration;

use super::writer::LogWriter;

/// How long a log has to rest before its last frame is vouched for. That is a write of its own, and of use only when no
/// other frame comes, which would vouch as well.
const REST: Duration = Duration::from_millis(20);

impl LogWriter {
    /// Runs on the calling thread, which should be one of its own, until the log is closed and all that was submitted
    /// is durable. A second thread, started here, prepares and removes segments.
    ///
    /// # Errors
    /// The first error of the disk; the log takes nothing after it.
    pub fn run_blocking(self) -> io::Result<()> {
        self.run_resting(REST)
    }

    fn run_resting(mut self, rest: Duration) -> io::Result<()> {
        self.chores.start_helper()?;
        loop {
            while let Some(written) = self.write_next()? {
                self.sync(written)?;
            }
            if self.shared.wait_at_most(rest) {
                continue;
            }
            self.seal()?;
            if !self.shared.wait() {
                return self.finish();
            }
        }
    }

    /// Runs as a task until the log is closed and all that was submitted is durable; no thread, no clock. The disk is
    /// used inline. Between the write of a batch and its sync it awaits `pause()`, which stands for the time that the
    /// disk takes. It vouches for its last frame as soon as it has nothing to do.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread::JoinHandle;

    use leasehold_types::GroupId;

    use super::*;
    use crate::disk::MemoryDisk;
    use crate::log::format::frame_span;
    use crate::log::{LogOptions, LogStore as _, Operation, SegmentedLog};

    fn run(rest: Duration) -> (SegmentedLog, JoinHandle<io::Result<()>>) {
        let disk = Arc::new(MemoryDisk::new());
        let options = LogOptions {
            zero_fill: false,
            ..LogOptions::default()
        };
        let (log, writer) = SegmentedLog::open(disk, options).unwrap();
        let thread = std::thread::Builder::new();
        (log, thread.spawn(move || writer.run_resting(rest)).unwrap())
    }

    /// Bytes written once an entry of 100 bytes is durable.
    fn append(log: &SegmentedLog) -> u64 {
        let group = GroupId::new(1);
        let entries = vec![(log.bounds(group).next, vec![7; 100].into())];
        let (answer, answered) = channel();
        let done = Box::new(move |result| answer.send(result).unwrap());
        log.submit(Operation::Append { group, entries }, done);
        answered.recv().unwrap().unwrap();
        log.health().bytes_written
    }

    #[test]
    fn frame_that_another_follows_soon_is_not_sealed_and_the_last_is() {
        let (log, writer) = run(Duration::from_secs(3600));
        let one = append(&log);
        let written: Vec<u64> = (0..4).map(|_| append(&log)).collect();
        assert_eq!(written, [2, 3, 4, 5].map(|frames| frames * one));
        log.close();
        writer.join().unwrap().unwrap();
        assert_eq!(log.health().bytes_written, 5 * one + frame_span(0));
    }

    #[test]
    fn log_that_rests_is_sealed() {
        let (log, writer) = run(Duration::from_millis(1));
        let sealed = append(&log) + frame_span(0);
        // Nobody is told of a seal, so that there is nothing to wait for but what it leaves.
        let is_sealed = |_| {
            std::thread::sleep(Duration::from_millis(1));
            log.health().bytes_written == sealed
        };
        assert!((0..60_000).any(is_sealed), "it rests and is not sealed");
        log.close();
        writer.join().unwrap().unwrap();
    }
}
