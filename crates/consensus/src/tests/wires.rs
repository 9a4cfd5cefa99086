//! A network in memory. It can be slow, and every direction of every link can be cut by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use leasehold_api::v1;
use leasehold_types::{GroupId, NodeId};
use tokio::time::{sleep, timeout};

use super::Counter;
use crate::group::Group;
use crate::snapshot::SnapshotParts;
use crate::transport::{Transport, TransportError};

/// All links, and the replicas at their ends.
#[derive(Default)]
pub(super) struct Wires {
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    groups: Mutex<BTreeMap<NodeId, Group<Counter>>>,
    delay: Mutex<Duration>,
    jitter: Mutex<Dice>,
    snapshots: AtomicUsize,
}

impl Wires {
    /// How long every message takes, one way.
    pub(super) fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// How many snapshots were sent.
    pub(super) fn snapshots(&self) -> usize {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// Every message takes up to this much longer, one more than another: they overtake each other.
    pub(super) fn set_jitter(&self, seed: u64, most: Duration) {
        *self.jitter.lock().unwrap() = Dice { seed, most };
    }

    pub(super) fn attach(&self, node: NodeId, group: Group<Counter>) {
        self.groups.lock().unwrap().insert(node, group);
    }

    /// Whatever is sent to the node from now on is lost.
    pub(super) fn detach(&self, node: NodeId) {
        self.groups.lock().unwrap().remove(&node);
    }

    /// Nothing gets from one node to the other; the other way is not touched.
    pub(super) fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.cut.lock().unwrap().insert((from, to));
    }

    /// Nothing gets to or from the node.
    pub(super) fn isolate(&self, node: NodeId) {
        for other in (1..=9).map(NodeId::new) {
            self.cut_one_way(node, other);
            self.cut_one_way(other, node);
        }
    }

    /// Everything gets everywhere again.
    pub(super) fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    /// The way of one message. A lost one never arrives.
    async fn travel(&self, from: NodeId, to: NodeId) {
        if self.cut.lock().unwrap().contains(&(from, to)) {
            std::future::pending::<()>().await;
        }
        let delay = *self.delay.lock().unwrap() + self.jitter.lock().unwrap().span();
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }

    fn group(&self, node: NodeId) -> Result<Group<Counter>, TransportError> {
        let groups = self.groups.lock().unwrap();
        let reason = "nobody listens there".to_owned();
        let unreachable = TransportError::Unreachable { to: node, reason };
        groups.get(&node).cloned().ok_or(unreachable)
    }
}

/// Numbers that look random and repeat with their seed.
#[derive(Debug, Default)]
struct Dice {
    seed: u64,
    most: Duration,
}

impl Dice {
    fn span(&mut self) -> Duration {
        self.most * u32::try_from(roll(&mut self.seed, 1_000)).unwrap() / 1_000
    }
}

/// A number below `sides`, by the generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
pub(super) fn roll(seed: &mut u64, sides: u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % sides
}

/// One node's end of the wires.
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) wires: Arc<Wires>,
}

impl End {
    fn exchange<F>(
        &self,
        to: NodeId,
        ttl: Duration,
        ask: impl FnOnce(Group<Counter>) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>>
    where
        F: Future<Output = v1::RaftReply> + Send + 'static,
    {
        let (wires, from) = (Arc::clone(&self.wires), self.node);
        // A task of its own, for what was sent arrives even if the sender no longer waits for the answer.
        let exchange = tokio::spawn(async move {
            wires.travel(from, to).await;
            let reply = ask(wires.group(to)?).await;
            wires.travel(to, from).await;
            Ok(reply)
        });
        Box::pin(async move {
            let late = TransportError::TimedOut { to, ttl };
            timeout(ttl, exchange)
                .await
                .map_or(Err(late), |reply| reply.unwrap())
        })
    }
}

impl Transport for End {
    fn call(
        &self,
        to: NodeId,
        _group: GroupId,
        request: v1::RaftRequest,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>> {
        self.exchange(to, ttl, move |group| group.handle(request))
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        _group: GroupId,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
        ttl: Duration,
    ) -> BoxFuture<'static, Result<v1::RaftReply, TransportError>> {
        self.wires.snapshots.fetch_add(1, Ordering::Relaxed);
        self.exchange(to, ttl, move |group| async move {
            group.receive_snapshot(head, parts).await
        })
    }
}
