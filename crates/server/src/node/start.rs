//! Starting, from the inside out.

use std::sync::Arc;

use leasehold_consensus::Group;
use leasehold_core::metadata::MetadataState;
use leasehold_core::metadata::command::Addresses;
use leasehold_types::GroupId;
use tokio::sync::watch;
use tonic::service::Routes;

use super::entry::{self, Entry};
use super::error::{NodeError, StartError};
use super::gauges::Gauges;
use super::groups::Replicas;
use super::handler::Handler;
use super::serve::{Doors, listen};
use super::store::{Opener, Store};
use super::{Node, Tasks, founded, keepsake, readiness, watch as watching};
use crate::cluster::{self, Cluster, VERSION, raft_timings};
use crate::config::{Config, ListenConfig};
use crate::disk::{DiskHealth, DiskRoom, DiskWatch, RoomGate};
use crate::doors::{Door, House};
use crate::gateway::{Gateway, Router};
use crate::http::{self, HttpState, Readiness};
use crate::metrics::Metrics;
use crate::peers::{LocalNode, PeerOptions, Peers, ProtocolRange};
use crate::seam::{Listener, Seam};
use crate::services;
use crate::shards::{Deliveries, Shards, ShardsOptions};
use crate::workers::{WorkerSessions, WorkerSessionsOptions};

/// See [`Node::start`].
pub(super) async fn start(config: Config, seam: Seam) -> Result<Node, StartError> {
    config.validate()?;
    let listen_at = &config.listen;
    let peer_door = listen(&seam, "peers", "listen.peer", &listen_at.peer).await?;
    let client_door = listen(&seam, "clients", "listen.client", &listen_at.client).await?;
    let store = Store::open(&config.storage, &seam)?;
    let addresses = addresses(listen_at, &client_door, &peer_door);
    let mut entry = entry::enter(&config, &seam, &store, addresses).await?;
    let seam = store.lend(&seam);
    let peers = peers(&entry, config.storage.snapshot_mib_per_second, &seam);
    let timings = raft_timings(entry.membership.timings);
    let opener = store.opener(entry.membership.node, timings, &peers, &seam);
    let room = watch::Sender::new(DiskRoom::default());
    let gate = RoomGate::new(room.subscribe(), &config.data);
    let cluster = match open_cluster(&mut entry, &opener, &peers, &seam, gate.clone()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            peers.stop().await;
            return Err(error);
        }
    };
    let works = Works::new(config, seam, cluster, store, (room, gate));
    works.run(entry, opener);
    Ok(works.open_doors(client_door, peer_door))
}

fn addresses(config: &ListenConfig, client: &Listener, peer: &Listener) -> Addresses {
    let or =
        |told: &Option<String>, bound: &Listener| told.as_ref().unwrap_or(&bound.address).clone();
    Addresses {
        client: or(&config.advertise_client, client),
        peer: or(&config.advertise_peer, peer),
    }
}

fn peers(entry: &Entry, snapshot_mib_per_second: u32, seam: &Seam) -> Peers {
    let ours = &entry.membership;
    let peers = Peers::new(PeerOptions {
        local: LocalNode {
            cluster: ours.cluster,
            node: ours.node,
            boot: ours.boot,
            protocols: ProtocolRange::SPOKEN,
            client_address: ours.addresses.client.clone(),
            peer_address: ours.addresses.peer.clone(),
        },
        timings: raft_timings(ours.timings),
        seam: seam.clone(),
        snapshot_bytes_per_second: u64::from(snapshot_mib_per_second) * 1024 * 1024,
    });
    for known in entry.keepsake.peers() {
        peers.know(known.node, known.boot(), &known.address);
    }
    peers
}

/// Opens the metadata group, and founds the cluster where that is still to be done: before any door is open.
async fn open_cluster(
    entry: &mut Entry,
    opener: &Opener,
    peers: &Peers,
    seam: &Seam,
    room: RoomGate,
) -> Result<Cluster, StartError> {
    let machine = MetadataState::default();
    let group = opener.open(GroupId::METADATA, machine).await?;
    if let Err(error) = found(entry, &group, seam).await {
        group.shutdown().await;
        return Err(error);
    }
    let membership = entry.membership.clone();
    Ok(Cluster::new(membership, group, peers.clone(), seam, room))
}

async fn found(
    entry: &mut Entry,
    group: &Group<MetadataState>,
    seam: &Seam,
) -> Result<(), StartError> {
    let Some((found, founder)) = &entry.founding else {
        return Ok(());
    };
    cluster::found(group, found.clone(), founder.add_node()).await?;
    entry.keepsake.founded(&seam.disk)
}

/// The parts of a node, put together.
struct Works {
    config: Config,
    seam: Seam,
    store: Store,
    cluster: Cluster,
    shards: Shards,
    router: Router,
    sessions: WorkerSessions,
    metrics: Metrics,
    readiness: Readiness,
    tasks: Tasks,
    openings: Tasks,
    disk: watch::Sender<DiskHealth>,
    room: watch::Sender<DiskRoom>,
    gate: RoomGate,
    ended: watch::Sender<Option<NodeError>>,
}

impl Works {
    fn new(
        config: Config,
        seam: Seam,
        cluster: Cluster,
        store: Store,
        (room, gate): (watch::Sender<DiskRoom>, RoomGate),
    ) -> Self {
        let metrics = Metrics::new(VERSION, config.region.as_str());
        let (disk, health) = watch::channel(DiskHealth::default());
        let shards = Shards::new(ShardsOptions {
            cluster: cluster.clone(),
            seam: seam.clone(),
            metrics: metrics.clone(),
            disk: health,
            room: gate.clone(),
        });
        let peers = cluster.peers().clone();
        let router = Router::new(cluster.clone(), shards.clone(), peers, seam.clone());
        let sessions = WorkerSessions::new(WorkerSessionsOptions {
            cluster: cluster.clone(),
            router: router.clone(),
            metrics: metrics.clone(),
            seam: seam.clone(),
        });
        Self {
            readiness: Readiness::new("starting", metrics.clone()),
            tasks: Tasks::new(),
            openings: Tasks::new(),
            ended: watch::channel(None).0,
            config,
            seam,
            store,
            cluster,
            shards,
            router,
            sessions,
            metrics,
            disk,
            room,
            gate,
        }
    }

    /// Starts everything that goes on by itself.
    fn run(&self, entry: Entry, opener: Opener) {
        self.run_cluster(entry);
        self.run_watches();
        let opened = self.run_replicas(opener);
        let preparing = readiness::prepare(self.cluster.clone(), opened, self.readiness.clone());
        self.tasks.spawn(preparing);
        let gauges = Gauges {
            cluster: self.cluster.clone(),
            shards: self.shards.clone(),
            log: self.store.log(),
            room: self.gate.clone(),
            clock: Arc::clone(&self.seam.clock),
            metrics: self.metrics.clone(),
        };
        self.tasks.spawn(gauges.run());
    }

    fn run_cluster(&self, entry: Entry) {
        let (tasks, cluster) = (&self.tasks, &self.cluster);
        tasks.spawn(cluster::follow(cluster.clone()));
        tasks.spawn(cluster::control(cluster.clone()));
        tasks.spawn(cluster::follow_metadata(cluster.clone()));
        let disk = Arc::clone(&self.seam.disk);
        tasks.spawn(keepsake::keep(cluster.clone(), entry.keepsake, disk));
        if entry.founding.is_some() {
            tasks.spawn(founded::watch(cluster.clone(), self.ended.clone()));
        }
        if entry.is_restart {
            let seeds = self.config.cluster.join.clone();
            tasks.spawn(watching::announcement(
                cluster.clone(),
                seeds,
                self.ended.clone(),
            ));
        }
    }

    fn run_watches(&self) {
        let tasks = &self.tasks;
        let watch = DiskWatch {
            log: self.store.log(),
            disk: Arc::clone(&self.seam.disk),
            clock: Arc::clone(&self.seam.clock),
            marks: self.store.watermarks(),
            health: self.disk.clone(),
            room: self.room.clone(),
        };
        tasks.spawn(watch.run());
        let lost = watching::Lost {
            log: self.store.log(),
            folder: self.config.data.clone(),
        };
        let cluster = self.cluster.clone();
        tasks.spawn(watching::metadata(
            cluster,
            lost.clone(),
            self.ended.clone(),
        ));
        tasks.spawn(lost.watch(self.disk.subscribe(), self.ended.clone()));
        let cluster = self.cluster.clone();
        tasks.spawn(watching::metadata_leadership(
            cluster,
            self.disk.subscribe(),
        ));
    }

    fn run_replicas(&self, opener: Opener) -> watch::Receiver<u64> {
        let peers = self.cluster.peers().clone();
        let (opened, watched) = watch::channel(0);
        let replicas = Replicas {
            cluster: self.cluster.clone(),
            shards: self.shards.clone(),
            deliveries: Deliveries::new(self.cluster.node(), self.sessions.clone(), peers),
            opener,
            tasks: self.tasks.clone(),
            opened,
        };
        let stop = self.openings.stop.clone();
        self.openings.spawn_whole(replicas.run(stop));
        watched
    }

    /// Lets peers and clients in.
    fn open_doors(self, client_door: Listener, peer_door: Listener) -> Node {
        let handler = Handler {
            cluster: self.cluster.clone(),
            shards: self.shards.clone(),
            sessions: self.sessions.clone(),
            room: self.gate.clone(),
        };
        self.cluster.peers().serve(peer_door, Arc::new(handler));
        let doors = Doors::open(client_door, self.routes());
        let addresses = self.cluster.membership().addresses.clone();
        tracing::info!(
            node = %self.cluster.node(),
            region = %self.cluster.region(),
            clients = addresses.client,
            peers = addresses.peer,
            "node started"
        );
        Node {
            addresses,
            doors,
            ended: self.ended.subscribe(),
            shutdown: self.config.shutdown,
            cluster: self.cluster,
            shards: self.shards,
            sessions: self.sessions,
            readiness: self.readiness,
            metrics: self.metrics,
            store: self.store,
            tasks: self.tasks,
            openings: self.openings,
        }
    }

    fn routes(&self) -> Routes {
        let gateway = Gateway::new(
            self.cluster.clone(),
            self.router.clone(),
            self.shards.clone(),
            self.metrics.clone(),
            self.seam.clone(),
        );
        let pages = http::routes(HttpState {
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            room: self.gate.clone(),
        });
        let calls = Routes::new(services::jobs::service(gateway.clone()))
            .add_service(services::admin::service(gateway))
            .add_service(services::workers::service(self.sessions.clone()));
        let routes = calls.into_axum_router().merge(pages);
        let house = House::from(self.cluster.peers().local());
        Routes::from(house.answer_strays(Door::Clients, routes)).prepare()
    }
}
