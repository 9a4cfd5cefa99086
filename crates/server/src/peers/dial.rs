//! Connecting to an address through the seam.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use leasehold_api::status::is_certainly_unsent;
use leasehold_api::v1::peers_client::PeersClient;
use leasehold_api::{ApiError, v1};
use leasehold_types::ErrorCode;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::FRAME_BYTES;
use super::call::CallError;
use super::serve::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::seam::Net;

/// Opens one connection to `host:port`, or says why there is none.
pub(super) async fn connect(
    net: &Arc<dyn Net>,
    address: &str,
) -> Result<PeersClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| format!("{address} is no address: {}", with_causes(&error)))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let (net, address) = (Arc::clone(net), address.to_owned());
    let connector = service_fn(move |_: Uri| {
        let connecting = net.connect(&address);
        async move { connecting.await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| with_causes(&error))?;
    Ok(PeersClient::new(channel)
        .max_decoding_message_size(FRAME_BYTES)
        .max_encoding_message_size(FRAME_BYTES))
}

/// Why a join has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinCallError {
    /// As with every call between nodes.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Something answers at the address that is no door for other nodes.
    #[error("{address} is not where nodes join: {}", cause.message)]
    WrongDoor {
        /// Where it was asked.
        address: String,
        /// What it said.
        cause: Box<ApiError>,
    },
}

/// One join, on a connection of its own.
///
/// # Errors
/// [`JoinCallError`]; a repeated join is the same join.
pub(crate) async fn join(
    net: &Arc<dyn Net>,
    address: &str,
    request: v1::JoinRequest,
    ttl: Duration,
) -> Result<v1::JoinResponse, JoinCallError> {
    let to = address.to_owned();
    let mut sent = false;
    let joining = async {
        let mut client = connect(net, address).await?;
        sent = true;
        Ok(client.join(request).await)
    };
    match timeout(ttl, Box::pin(joining)).await {
        Ok(Ok(Ok(response))) => Ok(response.into_inner()),
        Ok(Ok(Err(status))) => Err(not_joined(to, status)),
        Ok(Err(reason)) => Err(CallError::NotSent { to, reason }.into()),
        Err(_) => {
            let reason = format!("it did not answer within {ttl:?}");
            Err(match sent {
                true => CallError::Unknown { to, reason },
                false => CallError::NotSent { to, reason },
            }
            .into())
        }
    }
}

/// A node's own no comes inside of its answer: a bare status is from something before it.
fn not_joined(to: String, status: Status) -> JoinCallError {
    let reason = with_causes(&status);
    if is_certainly_unsent(&status) {
        return CallError::NotSent { to, reason }.into();
    }
    let cause = ApiError::from(status);
    if cause.code == ErrorCode::Unsupported {
        let (address, cause) = (to, Box::new(cause));
        return JoinCallError::WrongDoor { address, cause };
    }
    CallError::Unknown { to, reason }.into()
}

/// An error with what caused it: a transport's own words alone say only that there was an error.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
