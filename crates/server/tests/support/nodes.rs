//! Places for real nodes: a folder and a region each, loopback ports of the system's choice.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_core::metadata::command::Addresses;
use leasehold_core::policy::Timings;
use leasehold_core::shard::ShardState;
use leasehold_server::config::{Config, LogConfig, LogFormat};
use leasehold_server::node::{Node, StartError};
use leasehold_server::telemetry;
use leasehold_storage::{OpenDiskError, OsDisk};
use leasehold_types::ShardId;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The bound of everything that is awaited: far more than anything takes on a machine out of breath.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where one node lives over all its starts.
pub(crate) struct Place {
    region: String,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(region: &str) -> Self {
        show_log_if_asked();
        Self {
            region: region.to_owned(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Where the data folder is.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A node that was part of a cluster before, told of these addresses.
    pub(crate) fn again(&self, join: &[&str]) -> Config {
        let mut config = Config {
            region: self.region.parse().unwrap(),
            data: self.folder.path().join("data"),
            ..Config::default()
        };
        config.listen.client = "127.0.0.1:0".to_owned();
        config.listen.peer = "127.0.0.1:0".to_owned();
        config.cluster.join = join.iter().map(|address| (*address).to_owned()).collect();
        config.storage.segment_mib = 4;
        config.storage.zero_fill = false;
        config
    }

    /// At the addresses that the node had, and told of nobody.
    pub(crate) fn at(&self, addresses: &Addresses) -> Config {
        let mut config = self.again(&[]);
        config.listen.client.clone_from(&addresses.client);
        config.listen.peer.clone_from(&addresses.peer);
        config
    }

    pub(crate) fn joining(&self, address: &str) -> Config {
        self.again(&[address])
    }

    pub(crate) fn founder(&self, regions: u16) -> Config {
        let mut config = self.again(&[]);
        config.init = true;
        config.founding.timings = Timings::Lan;
        config.founding.regions = regions;
        config
    }

    /// The same folder in another place, as it is once the last start has let go of it.
    pub(crate) async fn copy(&self) -> Self {
        let_go(&self.folder.path().join("data")).await;
        let copy = Self::new(&self.region);
        copy_files(
            &self.folder.path().join("data"),
            &copy.folder.path().join("data"),
        );
        copy
    }
}

/// `TEST_LOG=debug` shows what the nodes write.
fn show_log_if_asked() {
    if let Ok(level) = std::env::var("TEST_LOG") {
        let format = LogFormat::Text;
        // Every test but the first finds it installed.
        let _ = telemetry::install(&LogConfig { format, level });
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Awaits something that has to come.
pub(crate) async fn in_time<T>(coming: impl Future<Output = T>) -> T {
    timeout(PATIENCE, coming)
        .await
        .expect("it did not come in time")
}

/// Waits until something holds that shows in the status of a group or in the metadata.
pub(crate) async fn until(node: &Node, holds: impl Fn(&Node) -> bool) {
    in_time(async {
        let mut applied = node.cluster().applied();
        let mut status = node.cluster().group().watch();
        while !holds(node) {
            tokio::select! {
                _ = applied.changed() => {}
                _ = status.changed() => {}
                // Some of what is waited for has no news of its own.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    })
    .await;
}

/// Waits until the checkpoint of a shard's replica has all that its log has.
pub(crate) async fn until_checkpointed(node: &Node, shard: ShardId) {
    let group = node.shards().group(shard).unwrap();
    until(node, |_| {
        let status = group.status();
        let unsaved = group.read(ShardState::unsaved_bytes);
        // The status may lag behind, what is in memory does not.
        unsaved == 0 && (status.snapshot, status.last_log) == (status.applied, status.applied)
    })
    .await;
}

/// Waits until a page shows what is looked for.
pub(crate) async fn until_page(node: &Node, path: &str, shows: impl Fn(&str) -> bool) {
    let address = node.addresses().client.clone();
    in_time(async {
        while !shows(&page(&address, path).await) {
            // Pages have no news of their own.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Ends a node without telling anybody.
pub(crate) async fn crash(node: Node) {
    in_time(node.halt()).await;
}

/// Starts a node on a folder that its last start has just let go of: the thread that writes the log may still hold it
/// for a moment.
pub(crate) async fn open(config: Config) -> Result<Node, StartError> {
    in_time(async {
        loop {
            match Node::open(config.clone()).await {
                Err(StartError::Disk(OpenDiskError::Locked { .. })) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                opened => return opened,
            }
        }
    })
    .await
}

/// Waits until the thread that writes the log of a crashed node has let go of its folder.
pub(crate) async fn let_go(folder: &Path) {
    in_time(async {
        while let Err(OpenDiskError::Locked { .. }) = OsDisk::open(folder) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// One page over plain HTTP/1.
pub(crate) async fn page(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
