//! All of this node's connections to others, as one handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use leasehold_api::v1::peer_frame::Body;
use leasehold_consensus::Timings;
use leasehold_types::{Boot, NodeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Patience;
use super::book::Book;
use super::hello::{HelloRefusal, LocalNode};
use super::lane::LaneError;
use super::link::{Link, Stream};
use super::protocol::Protocol;
use super::snapshot::Pace;
use crate::seam::{Clock, Entropy, Net, Seam};

/// What the connections to other nodes work with.
pub struct PeerOptions {
    /// Who this node says it is.
    pub local: LocalNode,
    /// Timings of the cluster: how long silence is borne.
    pub timings: Timings,
    /// Time, network and randomness.
    pub seam: Seam,
    /// How fast snapshots are sent at most, all together: what is left of the line and the disk is for the other traffic.
    pub snapshot_bytes_per_second: u64,
}

/// This node's connections to all others. Clones are cheap and share them.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<Context>,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every connection needs.
pub(super) struct Context {
    pub(super) local: LocalNode,
    pub(super) patience: Patience,
    pub(super) book: Book,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) net: Arc<dyn Net>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) refusals: Refusals,
    pub(super) pace: Arc<Pace>,
}

/// Refusals that are remembered as said.
const SAID: usize = 64;

/// Says once that somebody is refused: it comes back again and again.
#[derive(Default)]
pub(super) struct Refusals {
    said: Mutex<BTreeSet<String>>,
    stranger: watch::Sender<Option<HelloRefusal>>,
}

impl Refusals {
    pub(super) fn say(&self, refusal: &HelloRefusal) {
        if matches!(refusal, HelloRefusal::OtherCluster { .. }) {
            self.stranger.send_replace(Some(refusal.clone()));
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= SAID {
            said.clear();
        }
        if said.insert(refusal.to_string()) {
            tracing::warn!(%refusal, "peer refused");
        }
    }
}

impl Peers {
    /// Nobody is known yet: see [`Peers::know`].
    #[must_use]
    pub fn new(options: PeerOptions) -> Self {
        let context = Context {
            local: options.local,
            patience: Patience::of(options.timings),
            book: Book::default(),
            clock: options.seam.clock,
            net: options.seam.net,
            entropy: options.seam.entropy,
            refusals: Refusals::default(),
            pace: Arc::new(Pace::new(options.snapshot_bytes_per_second)),
        };
        Self {
            inner: Arc::new(Inner {
                context: Arc::new(context),
                links: RwLock::default(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// Notes where a node can be reached and from then on keeps it connected. What is older than what is known changes
    /// nothing.
    pub fn know(&self, node: NodeId, boot: impl Into<Boot>, address: &str) {
        self.learn(node, |book| book.note(node, boot.into(), address));
    }

    /// The same, where the cluster has agreed on it: of two starts under one count it is the one that stands.
    pub(crate) fn settle(&self, node: NodeId, boot: Boot, address: &str) {
        self.learn(node, |book| book.settle(node, boot, address));
    }

    fn learn(&self, node: NodeId, note: impl FnOnce(&Book) -> bool) {
        if node == self.local().node || self.inner.stop.is_cancelled() {
            return;
        }
        let is_news = note(&self.inner.context.book);
        if let Some(link) = self.link(node) {
            if is_news {
                link.redial();
            }
            return;
        }
        self.start_link(node);
    }

    /// The protocol that this node and another speak with each other; none while they are not connected.
    #[must_use]
    pub fn protocol(&self, node: NodeId) -> Option<Protocol> {
        self.link(node)?.protocol()
    }

    /// Why calls to a node cannot be sent now; none if they can.
    #[must_use]
    pub fn unreachable_reason(&self, node: NodeId) -> Option<String> {
        if node == self.local().node {
            return None;
        }
        match self.link(node) {
            Some(link) => link.why_down(),
            None => Some("it is not known here".to_owned()),
        }
    }

    /// The last node of another cluster that took this one for one of its own.
    pub(crate) fn stranger(&self) -> watch::Receiver<Option<HelloRefusal>> {
        self.inner.context.refusals.stranger.subscribe()
    }

    /// Whether calls to a node can be sent now. A node always reaches itself.
    #[must_use]
    pub fn is_reachable(&self, node: NodeId) -> bool {
        node == self.local().node || self.link(node).is_some_and(|link| link.is_up())
    }

    /// All nodes that can be reached now, this one among them.
    #[must_use]
    pub fn reachable(&self) -> BTreeSet<NodeId> {
        let links = self
            .inner
            .links
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let up = links.iter().filter(|(_, link)| link.is_up());
        up.map(|(node, _)| *node)
            .chain([self.local().node])
            .collect()
    }

    /// How many other nodes are known.
    #[must_use]
    pub fn known(&self) -> usize {
        let links = self
            .inner
            .links
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        links.len()
    }

    /// Who this node says it is.
    #[must_use]
    pub fn local(&self) -> &LocalNode {
        &self.inner.context.local
    }

    /// Closes every connection, in both directions, and waits until that is done. Calls under way end as *unknown*.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// All other nodes, with their newest start and where they were last reached.
    pub(crate) fn heard_of(&self) -> Vec<(NodeId, Boot, String)> {
        self.inner.context.book.entries()
    }

    pub(super) async fn exchange(
        &self,
        to: NodeId,
        stream: Stream,
        body: Body,
        ttl: Duration,
    ) -> Result<Body, LaneError> {
        match self.link(to) {
            Some(link) => link.call(stream, body, ttl).await,
            None if to == self.local().node => {
                Err(LaneError::NotSent("it is this node itself".to_owned()))
            }
            None => Err(LaneError::NotSent("it is not known here".to_owned())),
        }
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.inner.context
    }

    pub(super) fn net(&self) -> &Arc<dyn Net> {
        &self.inner.context.net
    }

    /// Cancelled when the peers are stopped.
    pub(super) fn stopped(&self) -> &CancellationToken {
        &self.inner.stop
    }

    /// Runs a task until it ends or the peers are stopped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        let links = self
            .inner
            .links
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        links.get(&node).cloned()
    }

    fn start_link(&self, node: NodeId) {
        let mut links = self
            .inner
            .links
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if links.contains_key(&node) {
            return;
        }
        let link = Link::new(node);
        links.insert(node, Arc::clone(&link));
        self.spawn(link.run(Arc::clone(&self.inner.context)));
    }
}
