//! One worker session's stream to a node, as bare messages.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as Said;
use leasehold_api::v1::worker_message::Body;
use leasehold_api::v1::workers_client::WorkersClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

const CONNECT: Duration = Duration::from_millis(500);

/// An open stream. Dropping it closes it.
pub(super) struct Wire {
    to_gateway: mpsc::UnboundedSender<v1::WorkerMessage>,
    from_gateway: Streaming<v1::GatewayMessage>,
}

impl Wire {
    /// Connects to `host:port` and says hello, as the message of this number.
    pub(super) async fn open(
        address: &str,
        hello: v1::WorkerHello,
        number: u64,
    ) -> Result<Self, Status> {
        let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        let channel = endpoint.connect_timeout(CONNECT).connect().await;
        let mut client = WorkersClient::new(channel.map_err(unreachable)?);
        let (to_gateway, messages) = mpsc::unbounded_channel();
        let stream = client.session(UnboundedReceiverStream::new(messages));
        let wire = |from_gateway| Self {
            to_gateway,
            from_gateway,
        };
        let wire = wire(stream.await?.into_inner());
        wire.say(number, Body::Hello(hello));
        Ok(wire)
    }

    /// Sends a message. On a stream that is broken it goes nowhere, which the other direction will tell.
    pub(super) fn say(&self, number: u64, body: Body) {
        let body = Some(body);
        let _ = self.to_gateway.send(v1::WorkerMessage { number, body });
    }

    /// The next message.
    pub(super) async fn hear(&mut self) -> Result<Said, Status> {
        let ended = || Status::unavailable("the stream ended");
        let message = self.from_gateway.message().await?.ok_or_else(ended)?;
        message.body.ok_or_else(ended)
    }
}
