//! Nodes: how they join, where they can be reached, how they are shown.

use leasehold_core::metadata::command::{AddNode, Addresses, Build, NodeStarted};
use leasehold_core::metadata::records::NodeRecord;
use leasehold_types::{Boot, BootCount, BootMark, ClusterId, NodeId, RecordFormat};

use super::{ConvertError, parsed, parsed_if_given};
use crate::v1;

/// Longest `host:port`, in bytes: 253 for a name and 6 for the port.
const ADDRESS_BYTES: usize = 259;

/// Where a node can be reached.
///
/// # Errors
/// When one of the two is not `host:port`.
pub fn addresses(client: &str, peer: &str) -> Result<Addresses, ConvertError> {
    Ok(Addresses {
        client: address("client_address", client)?,
        peer: address("peer_address", peer)?,
    })
}

fn address(field: &'static str, text: &str) -> Result<String, ConvertError> {
    let wrong = || ConvertError::choice(field, text, "host:port, such as 10.0.0.7:7101");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if text.len() > ADDRESS_BYTES || !is_port || !is_host {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// What a node that calls wants: an id, or to say that it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It has no id yet.
    New(AddNode),
    /// It has its id and belongs to this cluster.
    Known(ClusterId, NodeStarted),
}

impl TryFrom<&v1::JoinRequest> for Joining {
    type Error = ConvertError;

    fn try_from(wire: &v1::JoinRequest) -> Result<Self, ConvertError> {
        let addresses = addresses(&wire.client_address, &wire.peer_address)?;
        let (boot, build) = (boot(wire), build(wire));
        let cluster: Option<ClusterId> = parsed_if_given("cluster_id", &wire.cluster_id)?;
        match (cluster, wire.node_id) {
            (Some(cluster), node) if node > 0 => Ok(Self::Known(
                cluster,
                NodeStarted {
                    node: NodeId::new(node),
                    boot,
                    addresses,
                    build,
                },
            )),
            (None, node) if node > 0 => Err(ConvertError::Missing {
                field: "cluster_id",
            }),
            (_, _) => Ok(Self::New(AddNode {
                nonce: nonce(&wire.nonce)?,
                region: parsed("region", &wire.region)?,
                addresses,
                boot,
                build,
            })),
        }
    }
}

const fn boot(wire: &v1::JoinRequest) -> Boot {
    Boot {
        count: BootCount::new(wire.boots),
        mark: BootMark::new(wire.boot_mark),
    }
}

fn build(wire: &v1::JoinRequest) -> Build {
    Build {
        version: super::cut(wire.version.clone(), leasehold_types::limits::NAME_BYTES),
        reads: RecordFormat::new(wire.reads),
    }
}

fn nonce(bytes: &[u8]) -> Result<u128, ConvertError> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| {
        let given = format!("{} bytes", bytes.len());
        ConvertError::choice("nonce", &given, "16 random bytes")
    })?;
    Ok(u128::from_be_bytes(bytes))
}

/// Who asks to join, before the protocol versions that it speaks are filled in.
impl From<&Joining> for v1::JoinRequest {
    fn from(joining: &Joining) -> Self {
        match joining {
            Joining::New(add) => Self {
                nonce: add.nonce.to_be_bytes().to_vec().into(),
                region: add.region.as_str().to_owned(),
                client_address: add.addresses.client.clone(),
                peer_address: add.addresses.peer.clone(),
                boots: add.boot.count.get(),
                boot_mark: add.boot.mark.get(),
                version: add.build.version.clone(),
                reads: add.build.reads.get(),
                ..Self::default()
            },
            Joining::Known(cluster, started) => Self {
                cluster_id: cluster.to_string(),
                node_id: started.node.get(),
                client_address: started.addresses.client.clone(),
                peer_address: started.addresses.peer.clone(),
                boots: started.boot.count.get(),
                boot_mark: started.boot.mark.get(),
                version: started.build.version.clone(),
                reads: started.build.reads.get(),
                ..Self::default()
            },
        }
    }
}

/// A node as people see it; `unreachable` is the answering node's own view: why it cannot reach the node, if so.
#[must_use]
pub fn node_status(record: &NodeRecord, unreachable: Option<String>) -> v1::NodeStatus {
    v1::NodeStatus {
        node_id: record.id.get(),
        region: record.region.as_str().to_owned(),
        client_address: record.addresses.client.clone(),
        peer_address: record.addresses.peer.clone(),
        boots: record.boot.count.get(),
        version: record.build.version.clone(),
        reachable: unreachable.is_none(),
        unreachable_reason: unreachable.unwrap_or_default(),
        reads: record.build.reads.get(),
    }
}

/// Where a shard's leader can be reached.
#[must_use]
pub fn leader_hint(record: &NodeRecord) -> v1::LeaderHint {
    v1::LeaderHint {
        node_id: record.id.get(),
        region: record.region.as_str().to_owned(),
        address: record.addresses.client.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reachable_at() -> Addresses {
        addresses("10.0.0.7:7101", "node-7.eu:7102").unwrap()
    }

    fn boot_from(count: u64) -> Boot {
        Boot {
            count: BootCount::new(count),
            mark: BootMark::from_random(77),
        }
    }

    fn build_of(version: &str) -> Build {
        Build {
            version: version.to_owned(),
            reads: RecordFormat::new(3),
        }
    }

    #[test]
    fn both_ways_of_joining_survive_the_wire() {
        let new = Joining::New(AddNode {
            nonce: 0x1234,
            region: "eu".parse().unwrap(),
            addresses: reachable_at(),
            boot: boot_from(1),
            build: build_of("0.1.0"),
        });
        let known = Joining::Known(
            ClusterId::from_random(9),
            NodeStarted {
                node: NodeId::new(3),
                boot: boot_from(2),
                addresses: reachable_at(),
                build: build_of("0.1.0"),
            },
        );
        for joining in [new, known] {
            let wire = v1::JoinRequest::from(&joining);
            assert_eq!(Joining::try_from(&wire), Ok(joining));
        }
    }

    #[test]
    fn address_without_host_or_port_is_refused_with_the_right_form() {
        for wrong in [
            "",
            "7101",
            ":7101",
            "host:",
            "host:0",
            "host:70000",
            "http://host:1",
        ] {
            let error = addresses(wrong, "peer:1").unwrap_err().to_string();
            assert!(error.starts_with("client_address is"), "{wrong}: {error}");
        }
        assert!(addresses("[::1]:7101", "localhost:7102").is_ok());
    }

    #[test]
    fn id_without_its_cluster_is_refused() {
        let wire = v1::JoinRequest {
            node_id: 3,
            client_address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
            ..v1::JoinRequest::default()
        };
        let refused = ConvertError::Missing {
            field: "cluster_id",
        };
        assert_eq!(Joining::try_from(&wire), Err(refused));
    }
}
