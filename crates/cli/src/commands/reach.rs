//! Calls to the cluster, and what their failures mean for the exit code.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_client::{Client, ClientError, Kind};
use leasehold_types::{JobId, limits};
use tonic::transport::Channel;

use crate::args::Connection;
use crate::exit::{Exit, Failure, exit_of};

/// A client of the endpoints that the command line names. Nothing is dialled yet.
pub(crate) fn client(connection: &Connection) -> Result<Client, Failure> {
    Client::builder()
        .endpoints(connection.endpoints.clone())
        .timeout(connection.timeout)
        .build()
        .map_err(Failure::from)
}

/// The jobs service, with room for a whole page of large answers.
pub(crate) fn jobs(channel: Channel) -> JobsClient<Channel> {
    JobsClient::new(channel).max_decoding_message_size(4 * limits::REQUEST_BYTES)
}

/// The admin service.
pub(crate) fn admin(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(4 * limits::REQUEST_BYTES)
}

/// A span on the wire.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Every shard as its leader sees it.
pub(crate) async fn shards(client: &Client) -> Result<Vec<v1::Shard>, ClientError> {
    let ask = |channel| async move {
        let request = v1::ListShardsRequest {};
        admin(channel).list_shards(request).await
    };
    Ok(client.call(Kind::Read, ask).await?.shards)
}

/// Whether every region has its shard, with as many voters as there are regions, and a leader.
pub(crate) async fn is_whole(client: &Client, regions: usize) -> bool {
    let whole = |shard: &v1::Shard| {
        shard.leader != 0 && shard.voters.len() == regions && shard.error.is_none()
    };
    match shards(client).await {
        Ok(shards) => shards.len() == regions && shards.iter().all(whole),
        Err(_not_yet) => false,
    }
}

/// Reads a job id before anything is sent.
pub(crate) fn job_id(text: &str) -> Result<JobId, Failure> {
    text.parse()
        .map_err(|error| Failure::new(Exit::Refused, error))
}

/// An answer without the thing that it is about breaks the protocol.
pub(crate) fn present<T>(thing: Option<T>, what: &str) -> Result<T, Failure> {
    thing.ok_or_else(|| Failure::new(Exit::Failed, format!("the answer has no {what}")))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::NoResult { .. } => Exit::JobFailed,
            ClientError::NotEnded { .. } => Exit::StillRunning,
            ClientError::Unavailable { .. } => Exit::Unavailable,
            ClientError::Setup(_)
            | ClientError::Refused(_)
            | ClientError::Unknown { .. }
            | ClientError::Unreadable(_) => exit_of(error.code()),
        };
        Self::new(exit, error)
    }
}

/// Dead letters and lists share this.
pub(crate) fn page(limit: usize) -> u32 {
    u32::try_from(limit.clamp(1, limits::PAGE_JOBS)).unwrap_or(1)
}

/// A filter's absent name is empty on the wire.
pub(crate) fn or_empty(name: Option<String>) -> String {
    name.unwrap_or_default()
}

/// The class on the wire; unspecified for none.
pub(crate) fn class_on_wire(class: Option<leasehold_core::shard::command::FailureClass>) -> i32 {
    let class = class.map_or(v1::FailureClass::Unspecified, v1::FailureClass::from);
    i32::from(class)
}
