//! Opening the streams of a connection: both ends say who they are, then calls may follow.

use futures_util::Stream;
use leasehold_api::v1;
use leasehold_api::v1::peer_frame::Body;
use leasehold_api::v1::peers_client::PeersClient;
use leasehold_types::NodeId;
use tonic::Streaming;
use tonic::transport::Channel;

use super::hello::Introduced;
use super::lane::Lane;
use super::links::Context;
use super::missed::NoLink;

/// One stream of a connection, opened: calls go in at the lane, answers come out of the stream.
pub(super) struct Opened {
    pub(super) lane: Lane,
    pub(super) answers: Streaming<v1::PeerFrame>,
    pub(super) introduced: Introduced,
}

/// Opens one stream and checks who answers.
pub(super) async fn open(
    mut client: PeersClient<Channel>,
    to: NodeId,
    context: &Context,
) -> Result<Opened, NoLink> {
    let hello = context.local.hello(to);
    let (lane, frames) = Lane::new(hello, context.clock.now());
    let answers = send(&mut client, frames).await?;
    let (introduced, answers) = introduce(answers, to, context).await?;
    Ok(Opened {
        lane,
        answers,
        introduced,
    })
}

async fn send(
    client: &mut PeersClient<Channel>,
    frames: impl Stream<Item = v1::PeerFrame> + Send + 'static,
) -> Result<Streaming<v1::PeerFrame>, NoLink> {
    Ok(client.exchange(frames).await?.into_inner())
}

async fn introduce(
    mut answers: Streaming<v1::PeerFrame>,
    to: NodeId,
    context: &Context,
) -> Result<(Introduced, Streaming<v1::PeerFrame>), NoLink> {
    let hello = hello_in(answers.message().await?);
    let introduced = context
        .local
        .check(hello, |node| context.book.boots(node))?;
    if introduced.node != to {
        let why = format!("node {} answers at this address", introduced.node);
        return Err(NoLink::soon(why));
    }
    Ok((introduced, answers))
}

/// The hello that every stream begins with.
pub(super) fn hello_in(frame: Option<v1::PeerFrame>) -> Option<v1::PeerHello> {
    match frame?.body? {
        Body::Hello(hello) => Some(hello),
        Body::Raft(_)
        | Body::RaftReply(_)
        | Body::Shard(_)
        | Body::ShardAnswer(_)
        | Body::Metadata(_)
        | Body::MetadataAnswer(_)
        | Body::Delivery(_)
        | Body::DeliveryAnswer(_)
        | Body::Error(_)
        | Body::Ping(_)
        | Body::Pong(_) => None,
    }
}
