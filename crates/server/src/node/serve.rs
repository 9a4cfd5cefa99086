//! The door for clients, workers and HTTP: gRPC and plain pages on one port.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::Server;

use super::error::StartError;
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
    listening.map_err(|source| StartError::Listen {
        whom,
        setting,
        address: address.to_owned(),
        source,
    })
}

/// The open door.
pub(super) struct Doors {
    close: Option<oneshot::Sender<Infallible>>,
    serving: Option<JoinHandle<()>>,
}

impl Doors {
    /// Opens the door for clients.
    pub(super) fn open(listener: Listener, routes: Routes) -> Self {
        let (close, closed) = oneshot::channel::<Infallible>();
        let serving = Server::builder()
            .accept_http1(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .add_routes(routes)
            .serve_with_incoming_shutdown(listener.incoming, async {
                // Nothing is ever sent: the other end is dropped.
                let _ = closed.await;
            });
        let serving = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "clients are served no longer");
            }
        });
        Self {
            close: Some(close),
            serving: Some(serving),
        }
    }

    /// Takes no more requests and waits for those that are open, up to `within`.
    pub(super) async fn close(&mut self, within: Duration) {
        self.close = None;
        let Some(mut serving) = self.serving.take() else {
            return;
        };
        if timeout(within, &mut serving).await.is_err() {
            tracing::warn!(?within, "requests were still open and are cut off");
            serving.abort();
        }
    }

    /// Cuts everything off.
    pub(super) fn slam(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}
