//! Three regions of one node each, started on simulated hosts.

use std::time::Duration;

use futures_util::FutureExt;
use hyper_util::rt::TokioIo;
use leasehold_client::{Address, Client, ConnectFailure, Entropy};
use leasehold_core::policy::Timings;
use leasehold_server::config::Config;
use leasehold_server::node::Node;
use leasehold_server::seam::Net as _;
use leasehold_storage::MemoryDisk;
use leasehold_types::RegionName;
use tonic::transport::{Channel, Uri};
use turmoil::{Builder, Sim};

use super::{SimulatedNet, seam};
use crate::trace::Trace;

/// The regions, which are the hosts' names too. The first one founds the cluster.
pub const REGIONS: [&str; 3] = ["eu", "us", "ap"];

const CLIENT_PORT: u16 = 7101;
const PEER_PORT: u16 = 7102;

/// Where clients and workers reach a region.
#[must_use]
pub fn endpoint(region: &str) -> String {
    format!("{region}:{CLIENT_PORT}")
}

/// A simulation in which everything random comes from the seed.
#[must_use]
pub fn simulation<'a>(seed: u64, longest: Duration) -> Sim<'a> {
    Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(longest)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(16 * 1024)
        .build()
}

/// Puts a node on a host of each region. A host that is bounced finds its disk again.
pub fn add_nodes(sim: &mut Sim<'_>, seed: u64, trace: &Trace) {
    for (at, region) in REGIONS.into_iter().enumerate() {
        let disk = MemoryDisk::default();
        let trace = trace.clone();
        let seed = seed.wrapping_mul(31).wrapping_add(at as u64);
        sim.host(region, move || {
            let (disk, trace) = (disk.clone(), trace.clone());
            async move { run_node(at, disk, seed, trace).await }
        });
    }
}

async fn run_node(at: usize, disk: MemoryDisk, seed: u64, trace: Trace) -> turmoil::Result {
    let region = REGIONS[at];
    let node = Node::start(config(at)?, seam(&disk, seed)).await?;
    trace.note(
        turmoil::sim_elapsed().unwrap_or_default(),
        format_args!("{region} is up"),
    );
    let error = node.wait().await;
    node.stop().await;
    Err(error.into())
}

fn config(at: usize) -> anyhow::Result<Config> {
    let region = REGIONS[at];
    let mut config = Config {
        region: RegionName::new(region)?,
        init: at == 0,
        ..Config::default()
    };
    config.listen.client = format!("0.0.0.0:{CLIENT_PORT}");
    config.listen.peer = format!("0.0.0.0:{PEER_PORT}");
    config.listen.advertise_client = Some(endpoint(region));
    config.listen.advertise_peer = Some(format!("{region}:{PEER_PORT}"));
    config.listen.insecure = true;
    config.founding.timings = Timings::Lan;
    config.founding.regions = u16::try_from(REGIONS.len())?;
    config.storage.segment_mib = 4;
    config.storage.zero_fill = false;
    if at != 0 {
        config.cluster.join = vec![format!("{}:{PEER_PORT}", REGIONS[0])];
    }
    Ok(config)
}

/// A client on a simulated host, of these regions.
///
/// # Errors
/// When a region's name makes no address.
pub fn client(regions: &[&str], seed: u64) -> anyhow::Result<Client> {
    let connect = |address: Address| dial(address).boxed();
    let client = Client::builder()
        .endpoints(regions.iter().map(|region| endpoint(region)))
        .entropy(Entropy::seeded(seed))
        .connector(connect)
        .timeout(Duration::from_secs(60))
        .build()?;
    Ok(client)
}

async fn dial(address: Address) -> Result<Channel, ConnectFailure> {
    let endpoint = leasehold_client::Tcp::endpoint(&address)?;
    let connector = tower::service_fn(|uri: Uri| async move {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        SimulatedNet.connect(&authority).await.map(TokioIo::new)
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}
