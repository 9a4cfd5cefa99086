//! How a node comes to its place in a cluster: it has one, founds one, or joins one.

use std::sync::Arc;

use leasehold_core::metadata::command::{Addresses, Found};
use leasehold_storage::Identity;
use leasehold_types::{BootCount, ClusterId, NodeId};

use super::error::StartError;
use super::keepsake::Keepsake;
use super::store::Store;
use crate::cluster::{FOUNDER, Membership, Newcomer, join};
use crate::config::Config;
use crate::seam::Seam;

/// A node's place, and what is still to be done for it.
pub(super) struct Entry {
    pub(super) membership: Membership,
    /// What the founder still has to found its cluster with.
    pub(super) founding: Option<(Found, Newcomer)>,
    /// Nodes heard of so far.
    pub(super) nodes: Vec<(NodeId, BootCount, String)>,
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
        boots: store.folder.boots(),
    };
    match store.folder.identity() {
        Some(identity) => resume(config, store, newcomer, identity, &keepsake),
        None if config.init => begin(config, seam, store, newcomer, keepsake),
        None if config.cluster.join.is_empty() => Err(StartError::NoCluster),
        None => enlist(config, seam, store, newcomer, keepsake).await,
    }
}

/// The folder says who this is. A founding that was cut short goes on, with `--init` or without.
fn resume(
    config: &Config,
    store: &Store,
    newcomer: Newcomer,
    identity: Identity,
    keepsake: &Keepsake,
) -> Result<Entry, StartError> {
    let is_founded = identity.node != FOUNDER || store.is_founded();
    if config.init && is_founded {
        return Err(StartError::AlreadyMember(identity));
    }
    let timings = keepsake.known_timings()?;
    let membership = membership(&newcomer, identity, timings);
    let founding = (!is_founded).then(|| {
        let found = found(config, identity.cluster, timings);
        (found, newcomer)
    });
    Ok(Entry {
        membership,
        founding,
        nodes: Vec::new(),
        is_restart: true,
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
    keepsake.set_timings(&seam.disk, timings)?;
    store.folder.set_identity(identity)?;
    tracing::info!(cluster = %identity.cluster, "founding a cluster");
    Ok(Entry {
        membership: membership(&newcomer, identity, timings),
        founding: Some((found(config, identity.cluster, timings), newcomer)),
        nodes: Vec::new(),
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
    // The timings first: a folder with an identity is taken to have them.
    keepsake.set_timings(&Arc::clone(&seam.disk), joined.timings)?;
    store.folder.set_identity(identity)?;
    tracing::info!(cluster = %joined.cluster, node = %joined.node, "joined a cluster");
    Ok(Entry {
        membership: membership(&newcomer, identity, joined.timings),
        founding: None,
        nodes: joined.nodes,
        is_restart: false,
    })
}

fn membership(
    newcomer: &Newcomer,
    identity: Identity,
    timings: leasehold_core::policy::Timings,
) -> Membership {
    Membership {
        cluster: identity.cluster,
        node: identity.node,
        region: newcomer.region.clone(),
        boots: newcomer.boots,
        timings,
        addresses: newcomer.addresses.clone(),
    }
}

fn found(config: &Config, cluster: ClusterId, timings: leasehold_core::policy::Timings) -> Found {
    Found {
        cluster,
        virtual_shards: config.founding.virtual_shards,
        timings,
        regions: config.founding.regions,
    }
}
