//! The listening side: the `Peers` service over this node's handler.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use leasehold_api::v1::peers_server::{Peers as PeersService, PeersServer};
use leasehold_api::{ApiError, v1};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::links::Peers;
use super::{FRAME_BYTES, PeerHandler, answer, cut, snapshot};
use crate::doors::{Door, House};
use crate::seam::Listener;

/// What one stream may have under way, in bytes: a megabyte a trip of 250 ms is 4 MB/s.
pub(super) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// What a connection may have under way: enough that one full stream does not stop the other.
pub(super) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

struct Service {
    peers: Peers,
    handler: Arc<dyn PeerHandler>,
}

impl Peers {
    /// Answers the other nodes until the peers are stopped.
    pub fn serve(&self, listener: Listener, handler: Arc<dyn PeerHandler>) {
        let service = PeersServer::new(Service {
            peers: self.clone(),
            handler,
        })
        .max_decoding_message_size(FRAME_BYTES)
        .max_encoding_message_size(FRAME_BYTES);
        let house = House::from(self.local());
        let routes = Routes::new(service).into_axum_router();
        let routes = Routes::from(house.answer_strays(Door::Peers, routes)).prepare();
        let serving = Server::builder()
            // For whoever looks for pages here.
            .accept_http1(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_routes(routes)
            .serve_with_incoming(cut::until(self.stopped(), listener));
        self.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(error = %super::dial::with_causes(&error), "peers are answered no longer");
            }
        });
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::PeerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl PeersService for Service {
    type ExchangeStream = Frames;

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let answer = self.handler.join(request.into_inner()).await;
        Ok(Response::new(answer))
    }

    async fn exchange(
        &self,
        request: Request<Streaming<v1::PeerFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let frames = answer::exchange(&self.peers, &self.handler, request.into_inner()).await?;
        Ok(Response::new(Box::pin(frames)))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Result<Response<v1::RaftReply>, Status> {
        let received = snapshot::receive(&self.peers, request.into_inner()).await?;
        let reply = self
            .handler
            .snapshot(received.group, received.head, received.parts)
            .await;
        reply.map(Response::new).map_err(ApiError::into)
    }
}
