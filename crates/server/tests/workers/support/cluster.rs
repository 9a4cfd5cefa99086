//! Nodes of one cluster in this process, each in a region of its own.

use leasehold_core::metadata::MetadataState;
use leasehold_core::policy::DEFAULT_QUEUE;
use leasehold_server::node::Node;
use leasehold_types::QueueName;

use super::soon;
use crate::nodes::{self, Place};

/// The nodes, in the order of their regions `r0`, `r1` and so on; the first founded the cluster.
pub(crate) struct TestCluster {
    nodes: Vec<Option<Node>>,
    _places: Vec<Place>,
}

impl TestCluster {
    /// Starts so many nodes and waits until each knows the queue `default` and takes work.
    pub(crate) async fn start(regions: u16) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            _places: Vec::new(),
        };
        for number in 0..regions {
            cluster.add(number, regions).await;
        }
        for node in cluster.nodes.iter().flatten() {
            soon("the queue default", knows_default(node, regions)).await;
            soon("readiness", node.ready()).await;
        }
        cluster
    }

    async fn add(&mut self, number: u16, regions: u16) {
        let place = Place::new(&format!("r{number}"));
        let founder = self.nodes.first().and_then(Option::as_ref);
        let mut config = match founder {
            None => place.founder(regions),
            Some(founder) => place.joining(&founder.addresses().peer),
        };
        // Workers that a test still holds are not waited for.
        config.shutdown.drain_ms = 100;
        let node = soon("a node's start", nodes::open(config)).await;
        self.nodes.push(Some(node.expect("the node starts")));
        self._places.push(place);
    }

    /// Waits until every shard is replicated to so many voters.
    pub(crate) async fn replicated(&self, voters: usize) {
        let node = self.node(0);
        let is_wide = |node: &Node| {
            let shards = node.shards();
            let status = |shard| shards.group(shard).map(|group| group.status());
            let wide = |shard| status(shard).is_some_and(|s| s.voters.len() == voters);
            !shards.ids().is_empty() && shards.ids().into_iter().all(wide)
        };
        nodes::until(node, is_wide).await;
    }

    /// A node that was not stopped.
    pub(crate) fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("the node runs")
    }

    /// Where clients and workers reach a node: `host:port`.
    pub(crate) fn address(&self, number: usize) -> String {
        self.node(number).addresses().client.clone()
    }

    /// Takes a node out, to be stopped.
    pub(crate) fn take(&mut self, number: usize) -> Node {
        self.nodes[number].take().expect("the node runs")
    }

    /// Stops what still runs.
    pub(crate) async fn stop(mut self) {
        let nodes = self.nodes.drain(..).flatten();
        let stopping = nodes.map(Node::stop);
        soon("the end", futures_util::future::join_all(stopping)).await;
    }
}

async fn knows_default(node: &Node, regions: u16) {
    let mut applied = node.cluster().applied();
    let knows = |metadata: &MetadataState| {
        let queue = QueueName::new(DEFAULT_QUEUE).expect("a valid name");
        metadata.queue(&queue).is_some() && metadata.shards().len() == usize::from(regions)
    };
    let known = applied.wait_for(|_| node.cluster().read(knows)).await;
    known.expect("the node runs");
}
