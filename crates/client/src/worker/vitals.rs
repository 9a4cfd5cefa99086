//! What a running job and its session tell each other, without waiting for each other.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use leasehold_core::shard::command::WorkPhase;
use tokio_util::sync::CancellationToken;

/// Written by the handler, read by the session at each renewal; the token goes the other way.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    progress: AtomicU64,
    phase: AtomicU8,
    stop: CancellationToken,
}

// Each value stands for itself and none is read to conclude anything about the other: no ordering is needed.
impl Vitals {
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn raise_to(&self, total: u64) {
        self.progress.fetch_max(total, Ordering::Relaxed);
    }

    pub(super) fn raise_by(&self, more: u64) {
        self.progress.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> WorkPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => WorkPhase::Queued,
            1 => WorkPhase::Loading,
            3 => WorkPhase::Uploading,
            _ => WorkPhase::Running,
        }
    }

    pub(super) fn enter(&self, phase: WorkPhase) {
        let number = match phase {
            WorkPhase::Queued => 0,
            WorkPhase::Loading => 1,
            WorkPhase::Running => 2,
            WorkPhase::Uploading => 3,
        };
        self.phase.store(number, Ordering::Relaxed);
    }

    /// Tells the handler that its work is in vain.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn stopped(&self) -> &CancellationToken {
        &self.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_read_as_written_and_the_first_is_queued() {
        let vitals = Vitals::default();
        assert_eq!(vitals.phase(), WorkPhase::Queued);
        for phase in [
            WorkPhase::Queued,
            WorkPhase::Loading,
            WorkPhase::Running,
            WorkPhase::Uploading,
        ] {
            vitals.enter(phase);
            assert_eq!(vitals.phase(), phase);
        }
    }

    #[test]
    fn progress_never_falls() {
        let vitals = Vitals::default();
        vitals.raise_to(10);
        vitals.raise_to(3);
        vitals.raise_by(2);
        assert_eq!(vitals.progress(), 12);
    }
}
