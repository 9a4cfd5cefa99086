//! What a replica's checkpoints and snapshots have come to, counted since it was opened.
//!
//! Read while they change: whoever asks in the middle of a checkpoint sees how long it has been under way. Nothing is
//! decided by these counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openraft::Instant;
use openraft_rt_tokio::TokioInstant;

/// Totals of one replica, from its opening on.
#[derive(Debug, Default)]
pub struct CheckpointCounts {
    writing: Spent,
    receiving: Spent,
    received_bytes: AtomicU64,
    installed: AtomicU64,
}

impl CheckpointCounts {
    /// Checkpoints of its own that were begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.writing.total().0
    }

    /// Time spent on them, from the frozen machine to the release of what was written, one under way included.
    #[must_use]
    pub fn writing(&self) -> Duration {
        self.writing.total().1
    }

    /// Checkpoints of the leader's that it switched to.
    #[must_use]
    pub fn installed(&self) -> u64 {
        self.installed.load(Ordering::Relaxed)
    }

    /// Bytes of rows that came with them, whether they were switched to or not.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Time spent on receiving them, from the first part to the sync of the last, one under way included.
    #[must_use]
    pub fn receiving(&self) -> Duration {
        self.receiving.total().1
    }

    pub(crate) fn write(&self) -> UnderWay<'_> {
        self.writing.begin()
    }

    pub(crate) fn receive(&self) -> UnderWay<'_> {
        self.receiving.begin()
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn install(&self) {
        self.installed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Time spent on something that is done again and again. Where two are under way at once, the time counts once.
#[derive(Debug, Default)]
struct Spent(Mutex<Spans>);

#[derive(Debug, Default)]
struct Spans {
    begun: u64,
    under_way: u64,
    since: Option<TokioInstant>,
    ended: Duration,
}

impl Spent {
    fn begin(&self) -> UnderWay<'_> {
        self.change(|spans| {
            spans.begun += 1;
            spans.under_way += 1;
            spans.since.get_or_insert_with(TokioInstant::now);
        });
        UnderWay(self)
    }

    fn end(&self) {
        self.change(|spans| {
            spans.under_way -= 1;
            if spans.under_way == 0 {
                spans.ended += spans.since.take().map_or(Duration::ZERO, elapsed);
            }
        });
    }

    /// How often it was begun, and how long it took in all.
    fn total(&self) -> (u64, Duration) {
        self.change(|spans| {
            let under_way = spans.since.map_or(Duration::ZERO, elapsed);
            (spans.begun, spans.ended + under_way)
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut Spans) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn elapsed(since: TokioInstant) -> Duration {
    since.elapsed()
}

/// Counts for as long as it lives.
pub(crate) struct UnderWay<'a>(&'a Spent);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn time_counts_while_it_is_under_way_and_once_for_two_at_a_time() {
        let counts = CheckpointCounts::default();
        let first = counts.write();
        advance(Duration::from_secs(2)).await;
        assert_eq!(counts.writing(), Duration::from_secs(2));
        let second = counts.write();
        advance(Duration::from_secs(3)).await;
        drop(first);
        drop(second);
        advance(Duration::from_secs(7)).await;
        assert_eq!(
            (counts.begun(), counts.writing()),
            (2, Duration::from_secs(5))
        );
    }
}
