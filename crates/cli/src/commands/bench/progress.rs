//! What is said on standard error while a bench runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::run::Run;

/// Speaks, or keeps quiet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    is_quiet: bool,
}

/// Counts are said once a second until this is dropped.
#[must_use]
pub(super) struct Watch(Option<AbortHandle>);

impl Progress {
    pub(super) const fn new(is_quiet: bool) -> Self {
        Self { is_quiet }
    }

    pub(super) fn say(self, what: &str) {
        if !self.is_quiet {
            eprintln!("{what}");
        }
    }

    /// Says once a second how far the run has come.
    pub(super) fn watch(self, run: &Arc<Run>) -> Watch {
        let run = Arc::clone(run);
        let watch = async move {
            let (mut accepted, mut completed) = (run.accepted(), run.completed());
            for second in 1_u64.. {
                sleep(Duration::from_secs(1)).await;
                let now = (run.accepted(), run.completed());
                let (submits, ends) = (now.0 - accepted, now.1 - completed);
                eprintln!("{second:>4} s  {submits:>8} submits/s  {ends:>8} completions/s");
                (accepted, completed) = now;
            }
        };
        Watch((!self.is_quiet).then(|| tokio::spawn(watch).abort_handle()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
