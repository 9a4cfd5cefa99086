//! Whether a node takes work.

use std::borrow::Cow;

use tokio::sync::watch;

use crate::metrics::Metrics;

/// Whether a node takes work, and if not, why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Send work here.
    Yes,
    /// Do not, for this reason: a fragment for people, such as `waiting for the cluster's metadata`.
    No(Cow<'static, str>),
}

/// Shared by all who ask or know whether the node is ready. Clones share one value.
#[derive(Debug, Clone)]
pub struct Readiness {
    value: watch::Sender<Ready>,
    metrics: Metrics,
}

impl Readiness {
    /// Not ready, for this reason.
    #[must_use]
    pub fn new(why: &'static str, metrics: Metrics) -> Self {
        metrics.ready(false);
        let (value, _) = watch::channel(Ready::No(why.into()));
        Self { value, metrics }
    }

    /// Says whether the node takes work from now on.
    pub fn set(&self, ready: Ready) {
        self.metrics.ready(ready == Ready::Yes);
        self.value.send_replace(ready);
    }

    /// Whether the node takes work now.
    #[must_use]
    pub fn now(&self) -> Ready {
        self.value.borrow().clone()
    }

    /// Follows the changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Ready> {
        self.value.subscribe()
    }
}
