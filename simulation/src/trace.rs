//! What happened, in order, and one number that stands for all of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A log of what was seen, shared by all hosts of a simulation. Two runs of one seed must give equal traces.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Notes an event at its simulated time.
    pub fn note(&self, at: Duration, event: impl std::fmt::Display) {
        let line = format!("{:>10.3} ms  {event}", at.as_secs_f64() * 1e3);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// Everything noted so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// FNV-1a over all lines: equal for equal traces.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self
            .lines()
            .iter()
            .flat_map(|line| line.bytes().chain([b'\n']))
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash
    }
}
