//! The door for clients, workers and HTTP: gRPC and plain pages on one port.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::error::StartError;
use crate::peers::cut::until;
use crate::seam::{Listener, Seam};

/// What one stream may have under way, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What one connection may have under way, in bytes.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Requests that one connection may have open.
const STREAMS: u32 = 1_024;

/// Listens at the address of a setting.
pub(super) async fn listen(
    seam: &Seam,
    whom: &'static str,
    setting: &'static str,
    address: &str,
) -> Result<Listener, StartError> {
    let listening = seam.net.listen(address).await;
    listening.map_err(|cause| StartError::Listen {
        whom,
        setting,
        address: address.to_owned(),
        cause,
    })
}

/// The open door.
pub(super) struct Doors {
    closing: CancellationToken,
    cut: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Doors {
    /// Opens the door for clients.
    pub(super) fn open(listener: Listener, routes: Routes) -> Self {
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let serving = Server::builder()
            .accept_http1(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .add_routes(routes)
            .serve_with_incoming_shutdown(until(&cut, listener), closing.clone().cancelled_owned());
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "clients are served no longer");
            }
        });
        Self {
            closing,
            cut,
            serving: Some(serving),
        }
    }

    /// Takes no more requests, waits for those that are open up to `within`, and then cuts them off.
    pub(super) async fn close(&mut self, within: Duration) {
        self.closing.cancel();
        let Some(mut serving) = self.serving.take() else {
            return;
        };
        if timeout(within, &mut serving).await.is_err() {
            tracing::warn!(?within, "requests were still open and are cut off");
            self.cut.cancel();
            // The server ends with its last connection, and fails only by a panic of its own.
            let _ = serving.await;
        }
    }

    /// Cuts everything off.
    pub(super) fn slam(&self) {
        self.cut.cancel();
        self.closing.cancel();
    }
}
