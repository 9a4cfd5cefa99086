//! Two nodes' peers over links in memory that can be cut, on tokio's paused time.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use leasehold_api::{ApiError, v1};
use leasehold_consensus::{SnapshotParts, Timings};
use leasehold_storage::MemoryDisk;
use leasehold_types::{Boot, BootCount, BootMark, ClusterId, GroupId, NodeId, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::doors::{Door, House};
use crate::peers::{LocalNode, PeerHandler, PeerOptions, Peers, ProtocolRange};
use crate::seam::{Clock, Connection, Listener, Net, Seam, SeededEntropy};

/// Cut links eat what is sent, stay open, and carry nothing that was under way. New ones cannot be made.
#[derive(Clone, Default)]
pub(super) struct Wires {
    listeners: Arc<Mutex<BTreeMap<String, mpsc::Sender<io::Result<Connection>>>>>,
    cut: Arc<AtomicBool>,
}

impl Wires {
    pub(super) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    fn ends(&self) -> (Connection, Connection) {
        let (here, there) = tokio::io::duplex(1024 * 1024);
        // A link that was cut once never carries anything again, like a connection whose packets were lost.
        let broken = Arc::new(AtomicBool::new(false));
        let end = |stream| {
            let end = End {
                stream,
                cut: Arc::clone(&self.cut),
                broken: Arc::clone(&broken),
            };
            Connection::new(end, "memory")
        };
        (end(here), end(there))
    }
}

impl Net for Wires {
    fn listen(&self, address: &str) -> BoxFuture<'static, io::Result<Listener>> {
        let (sender, incoming) = mpsc::channel(16);
        let address = address.to_owned();
        self.listeners
            .lock()
            .unwrap()
            .insert(address.clone(), sender);
        let incoming = Box::pin(ReceiverStream::new(incoming));
        async move { Ok(Listener { address, incoming }) }.boxed()
    }

    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let listener = self.listeners.lock().unwrap().get(address).cloned();
        let wires = self.clone();
        async move {
            if wires.cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let (here, there) = wires.ends();
            let listener = listener.ok_or_else(refused)?;
            listener.send(Ok(there)).await.map_err(|_| refused())?;
            Ok(here)
        }
        .boxed()
    }
}

struct End {
    stream: DuplexStream,
    cut: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl End {
    fn carries(&self) -> bool {
        if self.cut.load(Ordering::SeqCst) {
            self.broken.store(true, Ordering::SeqCst);
        }
        !self.broken.load(Ordering::SeqCst)
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.carries() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.carries() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1_000) + self.0.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// A node that answers every call with what it was asked, so that the asker sees it arrived.
#[derive(Clone, Default)]
pub(super) struct Echo {
    /// Groups whose messages arrived, in order.
    pub(super) raft: Arc<Mutex<Vec<GroupId>>>,
    /// Bytes of the rows of each snapshot that arrived, or why it did not.
    pub(super) snapshots: Arc<Mutex<Vec<Result<usize, String>>>>,
}

impl PeerHandler for Echo {
    fn raft(
        &self,
        group: GroupId,
        _request: v1::RaftRequest,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>> {
        self.raft.lock().unwrap().push(group);
        std::future::ready(Ok(v1::RaftReply::default())).boxed()
    }

    fn snapshot(
        &self,
        _group: GroupId,
        _head: v1::RaftSnapshot,
        parts: SnapshotParts,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>> {
        let snapshots = Arc::clone(&self.snapshots);
        async move {
            let rows: Vec<_> = parts.collect().await;
            let rows: io::Result<Vec<_>> = rows.into_iter().collect();
            let whole = rows.map(|rows| rows.iter().map(|part| part.rows.len()).sum());
            snapshots
                .lock()
                .unwrap()
                .push(whole.map_err(|error| error.to_string()));
            Ok(v1::RaftReply::default())
        }
        .boxed()
    }

    fn shard(&self, call: v1::ShardCall) -> BoxFuture<'static, v1::ShardAnswer> {
        let status = v1::Shard {
            shard_id: call.shard_id,
            ..v1::Shard::default()
        };
        let answer = v1::ShardAnswer {
            answer: Some(v1::shard_answer::Answer::Status(status)),
        };
        std::future::ready(answer).boxed()
    }

    fn metadata(&self, _call: v1::MetadataCall) -> BoxFuture<'static, v1::MetadataAnswer> {
        // Never answered: for what a caller says when its time is up.
        std::future::pending().boxed()
    }

    fn deliver(&self, delivery: v1::Delivery) -> BoxFuture<'static, v1::DeliveryAnswer> {
        let sessions = delivery.assignments.into_iter().map(|a| a.session);
        let answer = v1::DeliveryAnswer {
            unknown_sessions: sessions.collect(),
        };
        std::future::ready(answer).boxed()
    }

    fn join(&self, _request: v1::JoinRequest) -> BoxFuture<'static, v1::JoinResponse> {
        std::future::ready(v1::JoinResponse::default()).boxed()
    }
}

/// One node's peers, answering as an [`Echo`].
pub(super) async fn node(wires: &Wires, id: u64, boots: u64) -> (Peers, Echo) {
    node_of(wires, id, boots, ProtocolRange::SPOKEN).await
}

/// The same, of a version that speaks these protocols.
pub(super) async fn node_of(
    wires: &Wires,
    id: u64,
    boots: u64,
    protocols: ProtocolRange,
) -> (Peers, Echo) {
    let address = format!("node{id}:1");
    let mut seam = Seam::system(Arc::new(MemoryDisk::default()));
    seam.net = Arc::new(wires.clone());
    seam.entropy = Arc::new(SeededEntropy::new(id));
    #[expect(clippy::disallowed_methods, reason = "the paused time of this test")]
    let start = Instant::now();
    seam.clock = Arc::new(PausedClock(start));
    let peers = Peers::new(PeerOptions {
        local: LocalNode {
            cluster: ClusterId::from_random(1),
            node: NodeId::new(id),
            boot: Boot {
                count: BootCount::new(boots),
                mark: BootMark::new(1),
            },
            protocols,
            client_address: "unused:1".to_owned(),
            peer_address: address.clone(),
        },
        timings: Timings::Lan,
        seam,
        snapshot_bytes_per_second: 64 * 1024 * 1024,
    });
    let echo = Echo::default();
    let listener = wires.listen(&address).await.unwrap();
    peers.serve(listener, Arc::new(echo.clone()));
    (peers, echo)
}

/// A door for clients and nobody else.
pub(super) async fn stray_door(wires: &Wires, address: &str) {
    let house = House {
        node: NodeId::new(7),
        client_address: address.to_owned(),
        peer_address: "peers:1".to_owned(),
    };
    let routes = house.answer_strays(Door::Clients, axum::Router::new());
    let listener = wires.listen(address).await.unwrap();
    let serving = Server::builder()
        .add_routes(Routes::from(routes))
        .serve_with_incoming(listener.incoming);
    tokio::spawn(serving);
}

/// Both know each other.
pub(super) async fn pair(wires: &Wires) -> ((Peers, Echo), (Peers, Echo)) {
    let (one, two) = (node(wires, 1, 1).await, node(wires, 2, 1).await);
    one.0.know(NodeId::new(2), BootCount::new(1), "node2:1");
    up(&one.0, 2).await;
    up(&two.0, 1).await;
    (one, two)
}

/// Waits until a node is reachable. Time is paused: the waits cost nothing.
pub(super) async fn up(peers: &Peers, id: u64) {
    while !peers.is_reachable(NodeId::new(id)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a node is reachable no longer.
pub(super) async fn down(peers: &Peers, id: u64) {
    while peers.is_reachable(NodeId::new(id)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
