//! How a node comes to its place in a cluster: it has one, founds one, or joins one.

use leasehold_core::metadata::command::{Addresses, Found};
use leasehold_core::policy::Timings;
use leasehold_storage::Identity;
use leasehold_types::{Boot, BootMark, ClusterId};

use super::error::StartError;
use super::keepsake::{Keepsake, KnownPeer, KnownPlace};
use super::store::Store;
use crate::cluster::{FOUNDER, Membership, Newcomer, join};
use crate::config::Config;
use crate::seam::Seam;

/// A node's place, and what is still to be done for it.
pub(super) struct Entry {
    pub(super) membership: Membership,
    /// What the founder still has to found its cluster with.
    pub(super) founding: Option<(Found, Newcomer)>,
    /// What it noted for its next start, the nodes heard of so far among it.
    pub(super) keepsake: Keepsake,
    /// The node has to tell the cluster that it started again.
    pub(super) is_restart: bool,
}

/// Finds the node's place. Only a node that has yet to join waits for others here.
pub(super) async fn enter(
    config: &Config,
    seam: &Seam,
    store: &Store,
    addresses: Addresses,
) -> Result<Entry, StartError> {
    let keepsake = Keepsake::open(&seam.disk, seam.entropy.as_ref())?;
    let newcomer = Newcomer {
        nonce: keepsake.nonce(),
        region: config.region.clone(),
        addresses,
        boot: Boot {
            count: store.folder.boots(),
            mark: BootMark::from_random(seam.entropy.next()),
        },
    };
    match store.folder.identity() {
        Some(identity) => resume(config, newcomer, identity, keepsake),
        None if config.init => begin(config, seam, store, newcomer, keepsake),
        None if config.cluster.join.is_empty() => Err(StartError::NoCluster),
        None => enlist(config, seam, store, newcomer, keepsake).await,
    }
}

/// The folder says who this is. A founding that was cut short goes on, with `--init` or without.
fn resume(
    config: &Config,
    newcomer: Newcomer,
    identity: Identity,
    keepsake: Keepsake,
) -> Result<Entry, StartError> {
    let place = keepsake.place()?;
    let is_founded = !place.is_founding;
    if config.init && is_founded {
        return Err(StartError::AlreadyMember(identity));
    }
    check_region(identity, place, &newcomer)?;
    let timings = place.timings;
    let membership = membership(&newcomer, identity, timings);
    let founding = (!is_founded).then(|| {
        let found = found(config, identity.cluster, timings);
        (found, newcomer)
    });
    Ok(Entry {
        membership,
        founding,
        keepsake,
        is_restart: true,
    })
}

fn check_region(
    identity: Identity,
    place: &KnownPlace,
    newcomer: &Newcomer,
) -> Result<(), StartError> {
    if place.region == newcomer.region {
        return Ok(());
    }
    Err(StartError::OtherRegion {
        node: identity.node,
        joined: place.region.clone(),
        configured: newcomer.region.clone(),
    })
}

fn begin(
    config: &Config,
    seam: &Seam,
    store: &Store,
    newcomer: Newcomer,
    mut keepsake: Keepsake,
) -> Result<Entry, StartError> {
    let timings = config.founding.timings;
    let identity = Identity {
        cluster: ClusterId::from_random(seam.entropy.next_128()),
        node: FOUNDER,
    };
    let place = KnownPlace {
        is_founding: true,
        ..place(&newcomer, timings)
    };
    keepsake.settle(&seam.disk, place, Vec::new())?;
    store.folder.set_identity(identity)?;
    tracing::info!(cluster = %identity.cluster, "founding a cluster");
    Ok(Entry {
        membership: membership(&newcomer, identity, timings),
        founding: Some((found(config, identity.cluster, timings), newcomer)),
        keepsake,
        is_restart: false,
    })
}

async fn enlist(
    config: &Config,
    seam: &Seam,
    store: &Store,
    newcomer: Newcomer,
    mut keepsake: Keepsake,
) -> Result<Entry, StartError> {
    let joined = join(&newcomer, &config.cluster.join, seam).await?;
    let identity = Identity {
        cluster: joined.cluster,
        node: joined.node,
    };
    // The note first: a folder with an identity is taken to have it.
    let peers = joined
        .nodes
        .into_iter()
        .filter(|(node, _, _)| *node != joined.node);
    let peers = peers.map(KnownPeer::from).collect();
    keepsake.settle(&seam.disk, place(&newcomer, joined.timings), peers)?;
    store.folder.set_identity(identity)?;
    tracing::info!(cluster = %joined.cluster, node = %joined.node, "joined a cluster");
    Ok(Entry {
        membership: membership(&newcomer, identity, joined.timings),
        founding: None,
        keepsake,
        is_restart: false,
    })
}

fn place(newcomer: &Newcomer, timings: Timings) -> KnownPlace {
    KnownPlace {
        timings,
        region: newcomer.region.clone(),
        is_founding: false,
    }
}

fn membership(newcomer: &Newcomer, identity: Identity, timings: Timings) -> Membership {
    Membership {
        cluster: identity.cluster,
        node: identity.node,
        region: newcomer.region.clone(),
        boot: newcomer.boot,
        timings,
        addresses: newcomer.addresses.clone(),
    }
}

fn found(config: &Config, cluster: ClusterId, timings: Timings) -> Found {
    Found {
        cluster,
        virtual_shards: config.founding.virtual_shards,
        timings,
        regions: config.founding.regions,
    }
}
