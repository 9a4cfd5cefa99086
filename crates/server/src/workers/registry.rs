//! Which sessions there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_api::ApiError;
use leasehold_types::{ErrorCode, SessionId, limits};
use tokio::sync::watch;

use super::session::{End, Session};
use crate::metrics::Metrics;

/// When a worker that is one too many should come back.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// This gateway's sessions by id; at most `limits::SESSIONS`.
pub(super) struct Registry {
    sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    count: watch::Sender<usize>,
    metrics: Metrics,
}

impl Registry {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            sessions: Mutex::default(),
            count: watch::channel(0).0,
            metrics,
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.sessions().get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.sessions().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.sessions().len()
    }

    /// Puts a session in; an older one of the same id gives way.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn put(&self, session: &Arc<Session>) -> Result<(), ApiError> {
        let mut sessions = self.sessions();
        if sessions.len() >= limits::SESSIONS && !sessions.contains_key(&session.id) {
            return Err(too_many());
        }
        let old = sessions.insert(session.id, Arc::clone(session));
        self.counted(sessions.len());
        drop(sessions);
        if let Some(old) = old {
            old.end(End::Replaced);
        }
        Ok(())
    }

    /// Takes a session out, unless another took its place.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions();
        let stands = sessions.get(&session.id);
        if stands.is_some_and(|stands| Arc::ptr_eq(stands, session)) {
            sessions.remove(&session.id);
            self.counted(sessions.len());
        }
    }

    /// Follows the number of sessions.
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn counted(&self, sessions: usize) {
        self.metrics.worker_sessions(sessions);
        self.count.send_replace(sessions);
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many() -> ApiError {
    let limit = limits::SESSIONS;
    let message = format!("this node holds {limit} worker sessions, its limit: dial another one");
    ApiError::new(ErrorCode::ResourceExhausted, message).with_retry_after(RETRY_AFTER)
}
