//! A whole snapshot on a connection of its own, part by part, no faster than the other traffic can bear.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use leasehold_api::{ApiError, v1};
use leasehold_consensus::SnapshotParts;
use leasehold_types::{GroupId, NodeId, Timestamp};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use super::dial::{self, with_causes};
use super::lane::LaneError;
use super::links::{Context, Peers};
use crate::seam::Clock;

/// A sender that has sent nothing for so long is not waited for: its place is free for the next try.
const SILENCE: Duration = Duration::from_secs(60);

/// A snapshot that is arriving.
pub(super) struct Receiving {
    pub(super) group: GroupId,
    pub(super) head: v1::RaftSnapshot,
    pub(super) parts: SnapshotParts,
}

/// Dials the node anew and sends everything; gives up once nothing has moved for `patience`.
pub(super) async fn send(
    context: &Context,
    to: NodeId,
    group: GroupId,
    head: v1::RaftSnapshot,
    parts: SnapshotParts,
    patience: Duration,
) -> Result<v1::RaftReply, LaneError> {
    let address = context.book.address(to);
    let address = address.ok_or_else(|| LaneError::NotSent("its address is not known".into()))?;
    let client = dial::connect(&context.net, &address).await;
    let mut client = client.map_err(LaneError::NotSent)?;
    let first = v1::SnapshotPart {
        hello: Some(context.local.hello(to)),
        group_id: group.get(),
        header: Some(head),
        rows: None,
    };
    let (moving, moved) = watch::channel(());
    let pace = (context.pace.clone(), context.clock.clone());
    let paced = paced(parts, pace, moving);
    let sending = client.send_snapshot(stream::iter([first]).chain(paced));
    tokio::select! {
        biased;
        sent = sending => match sent {
            Ok(reply) => Ok(reply.into_inner()),
            Err(status) => Err(LaneError::Broken(with_causes(&status))),
        },
        () = stillness(moved, patience) => Err(LaneError::TimedOut(patience)),
    }
}

/// What all snapshots that this node sends may take together.
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When what was sent so far has had its time.
    free_at: Mutex<Timestamp>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            free_at: Mutex::new(Timestamp::ZERO),
        }
    }

    /// Takes the time for so many bytes, and says how long to wait before sending them.
    fn take(&self, bytes: usize, now: Timestamp) -> Duration {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*free_at);
        *free_at = start + time_for(bytes, self.bytes_per_second);
        start.since(now)
    }
}

/// The parts, each when it is its turn. Ends early where the snapshot cannot be read: without its last part it is refused
/// at the other end.
fn paced(
    parts: SnapshotParts,
    (pace, clock): (Arc<Pace>, Arc<dyn Clock>),
    moving: watch::Sender<()>,
) -> impl Stream<Item = v1::SnapshotPart> + Send + 'static {
    stream::unfold(parts, move |mut parts| {
        let (pace, clock, moving) = (pace.clone(), clock.clone(), moving.clone());
        async move {
            let rows = match parts.next().await? {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(%error, "snapshot not sent");
                    return None;
                }
            };
            sleep(pace.take(rows.rows.len(), clock.now())).await;
            moving.send_replace(());
            let part = v1::SnapshotPart {
                rows: Some(rows),
                ..v1::SnapshotPart::default()
            };
            Some((part, parts))
        }
    })
}

fn time_for(bytes: usize, bytes_per_second: u64) -> Duration {
    let nanos = (bytes as u64).saturating_mul(1_000_000_000) / bytes_per_second.max(1);
    Duration::from_nanos(nanos)
}

/// Comes to an end once nothing has moved for a while. After the last part the receiver is given as long to load it.
async fn stillness(mut moved: watch::Receiver<()>, patience: Duration) {
    loop {
        match timeout(patience, moved.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return sleep(patience).await,
            Err(_) => return,
        }
    }
}

/// Takes the first part, after checking who sends it; the others come as they are asked for.
pub(super) async fn receive(
    peers: &Peers,
    mut parts: Streaming<v1::SnapshotPart>,
) -> Result<Receiving, Status> {
    let first = parts.message().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("a snapshot without parts"))?;
    check_sender(peers.context(), first.hello)?;
    let head = first
        .header
        .ok_or_else(|| Status::invalid_argument("a snapshot without a head"))?;
    Ok(Receiving {
        group: GroupId::new(first.group_id),
        head,
        parts: rows(parts),
    })
}

fn rows(parts: Streaming<v1::SnapshotPart>) -> SnapshotParts {
    Box::pin(stream::unfold(parts, |mut parts| async move {
        let part = match timeout(SILENCE, parts.message()).await {
            Ok(part) => part.map_err(io::Error::other).transpose()?,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing came for {SILENCE:?}"),
            )),
        };
        let without = || io::Error::new(io::ErrorKind::InvalidData, "a part without rows");
        let rows = part.and_then(|part| part.rows.ok_or_else(without));
        Some((rows, parts))
    }))
}

fn check_sender(context: &Context, hello: Option<v1::PeerHello>) -> Result<(), Status> {
    let sender = context.local.check(hello, |node| context.book.boots(node));
    match sender {
        Ok(_) => Ok(()),
        Err(refusal) => Err(ApiError::new(refusal.code(), refusal.to_string()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_sent_at_once_share_one_pace() {
        let (pace, now) = (Pace::new(1_000), Timestamp::from_micros(9_000_000));
        let waits = [1_000, 500, 0].map(|bytes| pace.take(bytes, now));
        assert_eq!(waits.map(|wait| wait.as_millis()), [0, 1_000, 1_500]);
        let later = Timestamp::from_micros(20_000_000);
        assert_eq!(
            pace.take(1_000, later),
            Duration::ZERO,
            "nothing is saved up"
        );
        assert_eq!(pace.take(0, later), Duration::from_secs(1));
    }

    #[test]
    fn time_of_a_part_is_what_its_bytes_may_take() {
        assert_eq!(time_for(1_000, 1_000), Duration::from_secs(1));
        assert_eq!(time_for(0, 1_000), Duration::ZERO);
        assert_eq!(time_for(1, 0), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn stillness_is_counted_from_the_last_move() {
        let (moving, moved) = watch::channel(());
        let still = tokio::spawn(stillness(moved, Duration::from_secs(10)));
        for _ in 0..5 {
            sleep(Duration::from_secs(9)).await;
            moving.send_replace(());
            assert!(!still.is_finished());
        }
        still.await.unwrap();
    }
}
