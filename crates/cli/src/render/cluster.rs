//! The cluster and its shards.

use std::collections::BTreeMap;

use leasehold_api::v1;
use serde::Serialize;

use super::queue::CountsOut;
use crate::output::{fields, table};

/// The cluster, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterOut {
    cluster_id: String,
    timings: String,
    answered_by: u64,
    version: String,
    regions: Vec<RegionOut>,
    nodes: Vec<NodeOut>,
    metadata: GroupOut,
    pending: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RegionOut {
    name: String,
    nodes: Vec<u64>,
    shard: u32,
}

#[derive(Debug, Serialize)]
struct NodeOut {
    node_id: u64,
    region: String,
    client_address: String,
    peer_address: String,
    boots: u64,
    version: String,
    reachable: bool,
    unreachable_reason: String,
}

#[derive(Debug, Default, Serialize)]
struct GroupOut {
    role: String,
    term: u64,
    leader: u64,
    voters: Vec<u64>,
    learners: Vec<u64>,
    last_log: u64,
    applied: u64,
}

/// One shard, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct ShardOut {
    shard_id: u32,
    home: String,
    placement: String,
    leader: u64,
    leader_region: String,
    epoch: u64,
    voters: Vec<u64>,
    workers: u32,
    free_slots: u64,
    stale_writes_refused: u64,
    counts: CountsOut,
    queues: BTreeMap<String, CountsOut>,
    leases_by_region: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<v1::ClusterStatusResponse> for ClusterOut {
    fn from(status: v1::ClusterStatusResponse) -> Self {
        Self {
            cluster_id: status.cluster_id,
            timings: status.timings,
            answered_by: status.node_id,
            version: status.version,
            regions: status.regions.into_iter().map(RegionOut::from).collect(),
            nodes: status.nodes.into_iter().map(NodeOut::from).collect(),
            metadata: status.metadata.unwrap_or_default().into(),
            pending: status.pending,
        }
    }
}

impl From<v1::RegionStatus> for RegionOut {
    fn from(region: v1::RegionStatus) -> Self {
        Self {
            name: region.name,
            nodes: region.nodes,
            shard: region.shard_id,
        }
    }
}

impl From<v1::NodeStatus> for NodeOut {
    fn from(node: v1::NodeStatus) -> Self {
        Self {
            node_id: node.node_id,
            region: node.region,
            client_address: node.client_address,
            peer_address: node.peer_address,
            boots: node.boots,
            version: node.version,
            reachable: node.reachable,
            unreachable_reason: node.unreachable_reason,
        }
    }
}

impl From<v1::GroupStatus> for GroupOut {
    fn from(group: v1::GroupStatus) -> Self {
        Self {
            role: group.role,
            term: group.term,
            leader: group.leader,
            voters: group.voters,
            learners: group.learners,
            last_log: group.last_log,
            applied: group.applied,
        }
    }
}

impl From<v1::Shard> for ShardOut {
    fn from(shard: v1::Shard) -> Self {
        Self {
            shard_id: shard.shard_id,
            home: shard.home,
            placement: shard.placement,
            leader: shard.leader,
            leader_region: shard.leader_region,
            epoch: shard.epoch,
            voters: shard.voters,
            workers: shard.workers,
            free_slots: shard.free_slots,
            stale_writes_refused: shard.stale_writes_refused,
            counts: shard.counts.unwrap_or_default().into(),
            queues: (shard.queues.into_iter())
                .map(|(name, counts)| (name, counts.into()))
                .collect(),
            leases_by_region: shard.leases_by_region.into_iter().collect(),
            error: shard.error.map(|error| error.message),
        }
    }
}

fn node_list(nodes: &[u64]) -> String {
    let names = nodes.iter().map(|node| format!("n{node}"));
    names.collect::<Vec<_>>().join(" ")
}

fn node_or_none(node: u64) -> String {
    match node {
        0 => "none".to_owned(),
        node => format!("n{node}"),
    }
}

impl ClusterOut {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let metadata = &self.metadata;
        let head = fields(&[
            ("cluster", self.cluster_id.clone()),
            ("timings", self.timings.clone()),
            (
                "metadata",
                format!(
                    "led by {}, voters {}, index {}",
                    node_or_none(metadata.leader),
                    node_list(&metadata.voters),
                    metadata.applied
                ),
            ),
            (
                "answered by",
                format!("n{}, version {}", self.answered_by, self.version),
            ),
        ]);
        let rows = self.nodes.iter().map(NodeOut::row);
        let nodes = table(
            &[
                "NODE", "REGION", "CLIENTS", "PEERS", "BOOTS", "VERSION", "HEARD",
            ],
            rows,
        );
        let unheard = self.nodes.iter().filter_map(NodeOut::why_unheard);
        let pending = self.pending.iter().map(|line| format!("\npending: {line}"));
        let notes = unheard.chain(pending).collect::<String>();
        format!("{head}\n\n{nodes}\n{notes}")
    }
}

impl NodeOut {
    fn why_unheard(&self) -> Option<String> {
        let (node, why) = (self.node_id, &self.unreachable_reason);
        (!self.reachable && !why.is_empty()).then(|| format!("\nn{node} is not heard: {why}"))
    }

    fn row(&self) -> Vec<String> {
        vec![
            format!("n{}", self.node_id),
            self.region.clone(),
            self.client_address.clone(),
            self.peer_address.clone(),
            self.boots.to_string(),
            self.version.clone(),
            if self.reachable { "yes" } else { "no" }.to_owned(),
        ]
    }
}

impl ShardOut {
    /// Many shards, one a line.
    pub(crate) fn rows(shards: &[Self]) -> String {
        let mut headers = vec![
            "SHARD", "HOME", "LEADER", "EPOCH", "VOTERS", "WORKERS", "FREE",
        ];
        headers.extend(CountsOut::HEADERS);
        headers.push("NOTE");
        table(&headers, shards.iter().map(Self::row))
    }

    fn row(&self) -> Vec<String> {
        let leader = match self.leader {
            0 => "none".to_owned(),
            node => format!("n{node} {}", self.leader_region),
        };
        let mut row = vec![
            format!("s{}", self.shard_id),
            self.home.clone(),
            leader,
            format!("e{}", self.epoch),
            node_list(&self.voters),
            self.workers.to_string(),
            self.free_slots.to_string(),
        ];
        row.extend(self.counts.columns());
        row.push(self.error.clone().unwrap_or_default());
        row
    }
}
