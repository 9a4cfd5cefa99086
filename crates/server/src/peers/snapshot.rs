//! A whole snapshot on a connection of its own, in parts.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use leasehold_api::{ApiError, v1};
use leasehold_types::{ErrorCode, GroupId, NodeId};
use tonic::{Status, Streaming};

use super::dial::{self, with_causes};
use super::lane::LaneError;
use super::links::{Context, Peers};

/// Bytes of the body in one part.
const PART_BYTES: usize = 256 * 1024;
/// Largest snapshot that is taken in: it is held in memory.
const SNAPSHOT_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// A snapshot that arrived whole.
pub(super) struct Received {
    pub(super) group: GroupId,
    pub(super) head: v1::RaftSnapshot,
    pub(super) body: Bytes,
}

/// Dials the node anew and sends everything. The caller bounds the time.
pub(super) async fn send(
    context: &Context,
    to: NodeId,
    group: GroupId,
    head: v1::RaftSnapshot,
    body: Bytes,
) -> Result<v1::RaftReply, LaneError> {
    let address = context.book.address(to);
    let address = address.ok_or_else(|| LaneError::NotSent("its address is not known".into()))?;
    let client = dial::connect(&context.net, &address).await;
    let mut client = client.map_err(LaneError::NotSent)?;
    let first = v1::SnapshotPart {
        hello: Some(context.local.hello(to)),
        group_id: group.get(),
        header: Some(head),
        body: Bytes::new(),
    };
    let sent = client.send_snapshot(parts(first, body)).await;
    match sent {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(LaneError::Broken(with_causes(&status))),
    }
}

/// The head, then the body in slices that share its memory.
fn parts(
    first: v1::SnapshotPart,
    body: Bytes,
) -> impl futures_util::Stream<Item = v1::SnapshotPart> + Send + 'static {
    let mut rest = body;
    let bodies = std::iter::from_fn(move || {
        let length = rest.len().min(PART_BYTES);
        (length > 0).then(|| rest.split_to(length))
    });
    let bodies = bodies.map(|body| v1::SnapshotPart {
        body,
        ..v1::SnapshotPart::default()
    });
    stream::iter(std::iter::once(first).chain(bodies))
}

/// Takes all parts in, after checking who sends them.
pub(super) async fn receive(
    peers: &Peers,
    mut parts: Streaming<v1::SnapshotPart>,
) -> Result<Received, Status> {
    let first = parts.message().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("a snapshot without parts"))?;
    check_sender(peers.context(), first.hello)?;
    let head = first
        .header
        .ok_or_else(|| Status::invalid_argument("a snapshot without a head"))?;
    if head.body_bytes > SNAPSHOT_BYTES {
        let why = format!(
            "a snapshot of {} bytes, at most {SNAPSHOT_BYTES} are taken",
            head.body_bytes
        );
        return Err(ApiError::new(ErrorCode::ResourceExhausted, why).into());
    }
    let body = collect(parts, head.body_bytes).await?;
    Ok(Received {
        group: GroupId::new(first.group_id),
        head,
        body,
    })
}

fn check_sender(context: &Context, hello: Option<v1::PeerHello>) -> Result<(), Status> {
    let sender = context.local.check(hello, |node| context.book.boots(node));
    match sender {
        Ok(_) => Ok(()),
        Err(refusal) => Err(ApiError::new(refusal.code(), refusal.to_string()).into()),
    }
}

/// Grows with what arrives, not with what was announced: an announcement costs the sender nothing.
async fn collect(mut parts: Streaming<v1::SnapshotPart>, announced: u64) -> Result<Bytes, Status> {
    let mut body = BytesMut::new();
    while let Some(part) = parts.message().await? {
        body.extend_from_slice(&part.body);
        if u64::try_from(body.len()).unwrap_or(u64::MAX) > announced {
            let why =
                format!("more than the {announced} bytes that the head of the snapshot names");
            return Err(Status::invalid_argument(why));
        }
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn body_is_cut_into_parts_that_are_the_body_again() {
        let body: Bytes = (0..PART_BYTES * 2 + 17)
            .map(|at| at.to_le_bytes()[0])
            .collect();
        let all: Vec<_> = parts(v1::SnapshotPart::default(), body.clone())
            .collect()
            .await;
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|part| part.body.len() <= PART_BYTES));
        let joined: Vec<u8> = all
            .iter()
            .flat_map(|part| part.body.iter().copied())
            .collect();
        assert_eq!(joined, body);
    }

    #[tokio::test]
    async fn empty_body_is_the_head_alone() {
        let all: Vec<_> = parts(v1::SnapshotPart::default(), Bytes::new())
            .collect()
            .await;
        assert_eq!(all.len(), 1);
    }
}
