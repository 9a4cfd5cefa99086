//! How a gateway stops: its workers are asked to dial elsewhere, and their leases go on.

use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body;
use tokio::time::timeout;

use super::WorkerSessions;
use super::session::{End, Kind, Session};
use super::tend::FAREWELL;

impl WorkerSessions {
    /// Asks every worker to dial another endpoint, takes no new ones, and returns once all have gone or `within` has
    /// passed. No worker is kept waiting for its jobs' ends: it carries them over. With no time at all nobody is asked
    /// or told anything: see [`abandon`](Self::abandon).
    pub async fn leave(&self, within: Duration) {
        if within.is_zero() {
            return self.abandon();
        }
        let inner = &self.inner;
        inner.leaving.cancel();
        for session in inner.registry.all() {
            session.change(|lending| lending.close());
            match session.kind {
                Kind::Stream => session.send(Body::Leaving(v1::GatewayLeaving {})),
                Kind::Unary => session.end(End::Stopping),
            }
        }
        let mut count = inner.registry.watch();
        let gone = timeout(within, count.wait_for(|count| *count == 0));
        if gone.await.is_err() {
            let sessions = inner.registry.len();
            tracing::warn!(sessions, "stopping although workers are still connected");
        }
        self.end_all().await;
    }

    async fn end_all(&self) {
        let inner = &self.inner;
        for session in inner.registry.all() {
            session.end(End::Stopping);
        }
        inner.tenders.close();
        let _leaders_may_not_answer = timeout(FAREWELL, inner.tenders.wait()).await;
        inner.stopped.cancel();
    }

    /// Ends everything at once and tells nobody, as a crash would.
    pub fn abandon(&self) {
        self.inner.leaving.cancel();
        self.inner.stopped.cancel();
    }
}

impl Session {
    /// The last word on the stream, where one is due.
    pub(super) fn say_goodbye(&self, why: End) {
        let id = self.id;
        match why {
            End::Disconnected | End::Misspoke => {}
            End::Silent => self.outlet.fail(ApiError::unavailable(format!(
                "session {id} said nothing for two leases: open it again"
            ))),
            End::Unread => self.outlet.fail(ApiError::unavailable(format!(
                "session {id} left too much unread: open it again"
            ))),
            End::Replaced => self.outlet.fail(ApiError::unavailable(format!(
                "session {id} was opened again on another connection"
            ))),
            End::Stopping => self.outlet.fail(ApiError::unavailable(
                "this node is stopping: dial another endpoint",
            )),
        }
    }
}
