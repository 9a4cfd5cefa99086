//! `AddNode` and `NodeStarted`: who is in the cluster, where, and from which start of its data folder.

use leasehold_types::{Boot, BootStanding, NodeId, limits};

use super::{Applied, full};
use crate::metadata::FIRST_NODE;
use crate::metadata::command::{AddNode, Addresses, Build, NodeStarted};
use crate::metadata::outcome::{MetadataOutcome, MetadataRefusal};
use crate::metadata::records::NodeRecord;
use crate::metadata::state::MetadataState;

/// Longest `host:port`, in bytes: the longest host name, a colon and five digits.
const ADDRESS_BYTES: usize = 253 + 1 + 5;
/// Longest version of a binary, in bytes.
const VERSION_BYTES: usize = 128;

impl MetadataState {
    pub(super) fn add_node(&mut self, index: u64, join: &AddNode) -> Applied {
        self.founded()?;
        check_texts(&join.addresses, &join.build)?;
        self.check_reads(&join.build)?;
        if let Some(known) = self.node_of_nonce(join.nonce) {
            let id = known.id;
            return self.rejoin(id, join);
        }
        self.check_address(&join.addresses)?;
        self.check_room(join)?;
        let id = self.id_at(index);
        self.insert_node(NodeRecord {
            id,
            region: join.region.clone(),
            addresses: join.addresses.clone(),
            boot: join.boot,
            build: join.build.clone(),
            nonce: join.nonce,
        });
        self.raise_format();
        Ok(MetadataOutcome::NodeAdded(id))
    }

    /// The founder has to know its id before there is a log; everybody else's is the index of its entry.
    fn id_at(&self, index: u64) -> NodeId {
        match self.nodes.is_empty() {
            true => FIRST_NODE,
            false => NodeId::new(index),
        }
    }

    pub(super) fn node_started(&mut self, start: &NodeStarted) -> Applied {
        self.founded()?;
        check_texts(&start.addresses, &start.build)?;
        self.check_reads(&start.build)?;
        self.note_start(start.node, start.boot, &start.addresses, &start.build)?;
        Ok(MetadataOutcome::NodeStarted)
    }

    /// A join repeated: the node never heard its id. It may have been started again since.
    fn rejoin(&mut self, id: NodeId, join: &AddNode) -> Applied {
        let known = self.nodes.get(&id).map(|node| &node.region);
        if let Some(region) = known.filter(|region| **region != join.region) {
            return Err(MetadataRefusal::Invalid(format!(
                "node {id} joined in region {region} and cannot move to {}: \
                 join there as a new node, with an empty data folder and another peer address",
                join.region
            )));
        }
        self.note_start(id, join.boot, &join.addresses, &join.build)?;
        Ok(MetadataOutcome::NodeAdded(id))
    }

    fn note_start(
        &mut self,
        id: NodeId,
        given: Boot,
        addresses: &Addresses,
        build: &Build,
    ) -> Result<(), MetadataRefusal> {
        let unknown = MetadataRefusal::UnknownNode(id);
        let node = self.nodes.get_mut(&id).ok_or(unknown)?;
        node.boot = stands(id, given, node.boot)?;
        node.addresses.clone_from(addresses);
        node.build.clone_from(build);
        self.raise_format();
        Ok(())
    }

    /// An empty folder at a node's address is most likely that node's, lost or not mounted. It could do no harm under
    /// a new id, but the votes of the old one would be missing for good with nobody told.
    fn check_address(&self, addresses: &Addresses) -> Result<(), MetadataRefusal> {
        match self.node_at(&addresses.peer) {
            Some(known) => Err(MetadataRefusal::AddressTaken {
                node: known.id,
                address: addresses.peer.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_room(&self, join: &AddNode) -> Result<(), MetadataRefusal> {
        if self.nodes().len() >= limits::NODES {
            return Err(full("nodes", limits::NODES));
        }
        if self.region(&join.region).is_none() && self.regions().len() >= limits::REGIONS {
            return Err(full("regions", limits::REGIONS));
        }
        Ok(())
    }
}

/// The start that is known from now on. Votes of a second copy of a data folder would count twice.
fn stands(node: NodeId, given: Boot, seen: Boot) -> Result<Boot, MetadataRefusal> {
    match given.standing(seen) {
        BootStanding::Newer => Ok(given),
        // A mark that is known is not forgotten for one that is not, or a third start could show its own.
        BootStanding::Same => Ok(Boot {
            mark: given.mark.or(seen.mark),
            ..given
        }),
        BootStanding::Older => Err(MetadataRefusal::OldBoot {
            node,
            seen: seen.count,
            given: given.count,
        }),
        BootStanding::Twin => Err(MetadataRefusal::TwinBoot {
            node,
            boot: given.count,
        }),
    }
}

fn check_texts(addresses: &Addresses, build: &Build) -> Result<(), MetadataRefusal> {
    check_text("client address", &addresses.client, ADDRESS_BYTES)?;
    check_text("peer address", &addresses.peer, ADDRESS_BYTES)?;
    check_text("version", &build.version, VERSION_BYTES)
}

fn check_text(what: &str, text: &str, most: usize) -> Result<(), MetadataRefusal> {
    let length = text.len();
    if length == 0 || length > most {
        return Err(MetadataRefusal::Invalid(format!(
            "{what} has {length} bytes: give 1 to {most}"
        )));
    }
    Ok(())
}
