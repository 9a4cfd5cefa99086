//! The one configuration of a node: what can be set, what is in force when it is not, and what is refused.
//!
//! Three layers, the later over the earlier: the file (TOML), the environment (`LEASEHOLD_*`), the flags. The last two
//! are the same handful of [`Overrides`]; everything else is set in the file. Unknown keys are refused in all of them,
//! since a misspelt setting that is silently left at its default is found on the worst day.
//!
//! What must hold: a [`Config`] that [`Config::load`] returned has passed [`Config::validate`], so nothing later in
//! the node checks a setting again. Founding a cluster is never part of the file: a node that is started anew with
//! the file it has must not found a second one.

mod check;
mod layers;
#[cfg(test)]
mod sample;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use leasehold_core::metadata::VIRTUAL_SHARDS_DEFAULT;
use leasehold_core::policy::Timings;
use leasehold_types::RegionName;
use serde::{Deserialize, Serialize};

pub use check::InvalidConfig;
pub use layers::{ConfigError, ENVIRONMENT_PREFIX, Overrides};

/// Everything that can be set about a node. [`Default`] is one node that founds nothing, on loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The failure domain that this node is in; the same for all nodes that can be lost together.
    pub region: RegionName,
    /// Folder of this node's data; a node needs one of its own.
    pub data: PathBuf,
    /// Found a new cluster with this node. Flag and environment only.
    #[serde(skip)]
    pub init: bool,
    /// Where the node can be reached.
    pub listen: ListenConfig,
    /// How the node finds its cluster.
    pub cluster: ClusterConfig,
    /// What a cluster is founded with; used with `--init` only.
    pub founding: FoundingConfig,
    /// How the log and checkpoints are kept.
    pub storage: StorageConfig,
    /// What the node writes about itself.
    pub log: LogConfig,
    /// How the node stops.
    pub shutdown: ShutdownConfig,
}

/// See [`Config::listen`]. Addresses are `host:port`; port 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// Where clients, workers and HTTP come in.
    pub client: String,
    /// Where other nodes come in.
    pub peer: String,
    /// Where clients and workers reach this node, when that is not the address listened on.
    pub advertise_client: Option<String>,
    /// Where other nodes reach this node, when that is not the address listened on.
    pub advertise_peer: Option<String>,
    /// Listen beyond loopback although there is neither TLS nor a token.
    pub insecure: bool,
}

/// See [`Config::cluster`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Peer addresses of any nodes of the cluster. Needed for the first start; a help when every node has moved since.
    pub join: Vec<String>,
}

/// See [`Config::founding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FoundingConfig {
    /// Heartbeats and elections of every group: `wan` between regions, `lan` within one site.
    pub timings: Timings,
    /// Regions that the cluster starts with: the queue `default` is made once each has its shard.
    pub regions: u16,
    /// Slices of the job id space, fixed for good.
    pub virtual_shards: u16,
}

/// See [`Config::storage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Length of one segment of the log, in MiB.
    pub segment_mib: u32,
    /// Fill segments with zeros ahead of their use: a sync then writes no metadata.
    pub zero_fill: bool,
    /// Free space on the data folder's volume below which new jobs are refused, in MiB; a tenth of the volume where that
    /// is less, yet no less than a segment; and none with 0.
    pub free_mib_min: u32,
    /// A group's checkpoint is written this long after the last one, in milliseconds, if anything changed.
    pub checkpoint_every_ms: u64,
    /// And as soon as there is so much to write, in MiB.
    pub checkpoint_mib: u32,
    /// Memory for what was read of a checkpoint or is about to be written to it, in MiB a group.
    pub checkpoint_cache_mib: u32,
    /// Log kept behind each group's checkpoint, in MiB, for replicas that were gone for a while.
    pub log_kept_mib: u32,
    /// How fast snapshots are sent to other nodes at most, all together, in MiB a second.
    pub snapshot_mib_per_second: u32,
}

/// See [`Config::log`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For whom it is written.
    pub format: LogFormat,
    /// Level or filter, such as `info` or `leasehold_server=debug,info`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// See [`Config::shutdown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// Longest that a stopping node tries to hand its leaderships over, in milliseconds.
    pub handover_ms: u64,
    /// Longest that it then waits for open requests, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: RegionName::new("local").expect("a valid name"),
            data: PathBuf::from("leasehold-data"),
            init: false,
            listen: ListenConfig::default(),
            cluster: ClusterConfig::default(),
            founding: FoundingConfig::default(),
            storage: StorageConfig::default(),
            log: LogConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            client: "127.0.0.1:7101".to_owned(),
            peer: "127.0.0.1:7102".to_owned(),
            advertise_client: None,
            advertise_peer: None,
            insecure: false,
        }
    }
}

impl Default for FoundingConfig {
    fn default() -> Self {
        Self {
            timings: Timings::Wan,
            regions: 1,
            virtual_shards: VIRTUAL_SHARDS_DEFAULT,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            segment_mib: 64,
            zero_fill: true,
            free_mib_min: 2_048,
            checkpoint_every_ms: 5_000,
            checkpoint_mib: 64,
            checkpoint_cache_mib: 32,
            log_kept_mib: 1_024,
            snapshot_mib_per_second: 64,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            handover_ms: 5_000,
            drain_ms: 10_000,
        }
    }
}

impl ShutdownConfig {
    /// Longest that a stopping node tries to hand its leaderships over.
    #[must_use]
    pub const fn handover(&self) -> Duration {
        Duration::from_millis(self.handover_ms)
    }

    /// Longest that a stopping node waits for open requests.
    #[must_use]
    pub const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
