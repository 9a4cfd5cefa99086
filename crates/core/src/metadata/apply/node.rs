//! `AddNode` and `NodeStarted`: who is in the cluster, where, and from which start of its data folder.

use leasehold_types::{BootCount, NodeId, limits};

use super::{Applied, full};
use crate::metadata::FIRST_NODE;
use crate::metadata::command::{AddNode, Addresses, NodeStarted};
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
        check_texts(&join.addresses, &join.version)?;
        if let Some(known) = self.node_of_nonce(join.nonce) {
            let id = known.id;
            return self.rejoin(id, join);
        }
        self.check_room(join)?;
        let id = self.id_at(index);
        self.insert_node(NodeRecord {
            id,
            region: join.region.clone(),
            addresses: join.addresses.clone(),
            boot: join.boot,
            version: join.version.clone(),
            nonce: join.nonce,
        });
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
        check_texts(&start.addresses, &start.version)?;
        self.note_start(start.node, start.boot, &start.addresses, &start.version)?;
        Ok(MetadataOutcome::NodeStarted)
    }

    /// A join repeated: the node never heard its id. It may have been started again since.
    fn rejoin(&mut self, id: NodeId, join: &AddNode) -> Applied {
        let known = self.nodes.get(&id).map(|node| &node.region);
        if let Some(region) = known.filter(|region| **region != join.region) {
            return Err(MetadataRefusal::Invalid(format!(
                "node {id} joined in region {region} and cannot move to {}: \
                 start it with an empty data folder to join there as a new node",
                join.region
            )));
        }
        self.note_start(id, join.boot, &join.addresses, &join.version)?;
        Ok(MetadataOutcome::NodeAdded(id))
    }

    fn note_start(
        &mut self,
        id: NodeId,
        given: BootCount,
        addresses: &Addresses,
        version: &str,
    ) -> Result<(), MetadataRefusal> {
        let unknown = MetadataRefusal::UnknownNode(id);
        let node = self.nodes.get_mut(&id).ok_or(unknown)?;
        let (node_id, seen) = (id, node.boot);
        if given < seen {
            return Err(MetadataRefusal::OldBoot {
                node: node_id,
                seen,
                given,
            });
        }
        node.boot = given;
        node.addresses.clone_from(addresses);
        version.clone_into(&mut node.version);
        Ok(())
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

fn check_texts(addresses: &Addresses, version: &str) -> Result<(), MetadataRefusal> {
    check_text("client address", &addresses.client, ADDRESS_BYTES)?;
    check_text("peer address", &addresses.peer, ADDRESS_BYTES)?;
    check_text("version", version, VERSION_BYTES)
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
