//! The connection to a gateway: dialled, opened by a hello, then messages both ways.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use leasehold_api::{ApiError, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use v1::gateway_message::Body;
use v1::workers_client::WorkersClient;

use crate::address::Address;
use crate::client::connect;
use crate::connect::SharedConnector;

/// Messages that may wait for the connection. When it takes no more, what is said later is said anew.
const WAITING: usize = 256;
/// Longest from the hello to its answer.
const OPENED_WITHIN: Duration = Duration::from_secs(5);

/// Where the connection is.
pub(super) enum Line {
    Dialling(Address, BoxFuture<'static, Result<Channel, ApiError>>),
    Opening(Address, BoxFuture<'static, Result<Open, ApiError>>),
    Open(Address, Box<Open>),
}

/// An open connection.
pub(super) struct Open {
    outgoing: mpsc::Sender<v1::WorkerMessage>,
    incoming: Streaming<v1::GatewayMessage>,
    /// What the gateway said about itself.
    pub(super) welcome: v1::SessionOpened,
}

/// What happened on the line.
pub(super) enum LineEvent {
    /// There is a connection, and nothing was said yet.
    Dialled(Channel),
    /// The gateway answered the hello.
    Opened(Box<Open>),
    Heard(Box<v1::GatewayMessage>),
    /// It could not be made, or is gone.
    Lost(ApiError),
}

impl Line {
    /// Dials after a wait.
    pub(super) fn dial(address: Address, connector: SharedConnector, wait: Duration) -> Self {
        let target = address.clone();
        let dialled = async move {
            tokio::time::sleep(wait).await;
            connect(&connector, target).await.map_err(|failure| {
                ApiError::unavailable(format!("endpoint cannot be reached: {failure}"))
            })
        };
        Self::Dialling(address, dialled.boxed())
    }

    /// Says hello.
    pub(super) fn open(address: Address, channel: Channel, hello: v1::WorkerMessage) -> Self {
        Self::Opening(address, opened(channel, hello).boxed())
    }

    pub(super) const fn address(&self) -> &Address {
        match self {
            Self::Dialling(address, _) | Self::Opening(address, _) | Self::Open(address, _) => {
                address
            }
        }
    }

    /// What happens next. Nothing is lost when the future is dropped.
    pub(super) async fn event(&mut self) -> LineEvent {
        match self {
            Self::Dialling(_, dialled) => match dialled.await {
                Ok(channel) => LineEvent::Dialled(channel),
                Err(error) => LineEvent::Lost(error),
            },
            Self::Opening(_, opened) => match opened.await {
                Ok(open) => LineEvent::Opened(Box::new(open)),
                Err(error) => LineEvent::Lost(error),
            },
            Self::Open(_, open) => heard(open.incoming.message().await),
        }
    }

    /// A message that is there already.
    pub(super) fn ready(&mut self) -> Option<LineEvent> {
        match self {
            Self::Dialling(..) | Self::Opening(..) => None,
            Self::Open(_, open) => open.incoming.message().now_or_never().map(heard),
        }
    }

    /// How many messages the line takes now.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Dialling(..) | Self::Opening(..) => 0,
            Self::Open(_, open) => open.outgoing.capacity(),
        }
    }

    /// Sends a message for which there is [`room`](Self::room).
    pub(super) fn send(&self, message: v1::WorkerMessage) {
        if let Self::Open(_, open) = self {
            // A line that is gone says so by its next event, and what was said is said again on the next one.
            let _ = open.outgoing.try_send(message);
        }
    }
}

fn heard(message: Result<Option<v1::GatewayMessage>, Status>) -> LineEvent {
    match message {
        Ok(Some(message)) => LineEvent::Heard(Box::new(message)),
        Ok(None) => LineEvent::Lost(ApiError::unavailable("the gateway ended the session")),
        Err(status) => LineEvent::Lost(status.into()),
    }
}

async fn opened(channel: Channel, hello: v1::WorkerMessage) -> Result<Open, ApiError> {
    let opening = tokio::time::timeout(OPENED_WITHIN, open(channel, hello));
    opening.await.unwrap_or_else(|_| {
        let message = format!("the gateway did not answer the hello within {OPENED_WITHIN:?}");
        Err(ApiError::unavailable(message))
    })
}

async fn open(channel: Channel, hello: v1::WorkerMessage) -> Result<Open, ApiError> {
    let (outgoing, messages) = mpsc::channel(WAITING);
    // The hello goes in first: a gateway may wait for it before it answers at all.
    let _ = outgoing.try_send(hello);
    let mut client = WorkersClient::new(channel);
    let mut incoming: Streaming<v1::GatewayMessage> = client
        .session(ReceiverStream::new(messages))
        .await
        .map(Response::into_inner)?;
    match incoming.message().await?.and_then(|message| message.body) {
        Some(Body::Opened(welcome)) => Ok(Open {
            outgoing,
            incoming,
            welcome,
        }),
        Some(Body::Leaving(_)) => Err(ApiError::unavailable("the gateway is stopping")),
        Some(Body::Assignment(_) | Body::Renewed(_) | Body::Write(_)) | None => Err(
            ApiError::unavailable("the gateway did not answer the hello"),
        ),
    }
}
