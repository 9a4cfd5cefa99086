//! How a worker comes to have a session here.

use std::sync::Arc;

use leasehold_api::ApiError;
use leasehold_api::convert::workers::Hello;

use super::Inner;
use super::outlet::Outlet;
use super::session::{Identity, Kind, Session};
use super::tend::tend;
use super::unary::Inbox;

impl Inner {
    /// Who a hello is of. A worker that names no region is in the gateway's.
    pub(super) fn identity(&self, hello: Hello, kind: Kind) -> Identity {
        let region = hello.region.clone();
        Identity {
            region: region.unwrap_or_else(|| self.cluster.region()),
            gateway: self.cluster.node(),
            hello,
            kind,
        }
    }

    /// Opens a session and starts tending it.
    ///
    /// # Errors
    /// When the node is stopping or has too many sessions.
    pub(super) fn attach(
        self: &Arc<Self>,
        identity: Identity,
        outlet: Outlet,
        inbox: Option<Inbox>,
    ) -> Result<Arc<Session>, ApiError> {
        self.refuse_when_leaving()?;
        let (worker, region) = (identity.hello.worker.clone(), identity.region.clone());
        let pace = self.pace(&identity.hello.queues);
        let session = Arc::new(Session::new(identity, (outlet, inbox), pace, self.now()));
        self.registry.put(&session)?;
        let (id, kind) = (session.id, session.kind);
        tracing::info!(session = %id, %worker, %region, ?kind, "worker session opened");
        self.tenders
            .spawn(tend(Arc::clone(self), Arc::clone(&session)));
        Ok(session)
    }
}
