//! Who is at the other end: the first message in each direction of every exchange.
//!
//! Checked by both ends, as values: a node of another cluster, a node that was meant for another address, an old or a
//! second copy of a data folder and a version too far away are each refused by name. A copy must be kept out here
//! already, since its votes would be counted a second time.

use std::fmt;

use leasehold_api::v1;
use leasehold_types::{Boot, BootCount, BootMark, BootStanding, ClusterId, ErrorCode, NodeId};

use super::protocol::{NoProtocol, Protocol, ProtocolRange};

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Which start of its data folder this is.
    pub boot: Boot,
    /// What it speaks.
    pub protocols: ProtocolRange,
    /// `host:port` where clients reach it.
    pub client_address: String,
    /// `host:port` where other nodes reach it.
    pub peer_address: String,
}

/// Why a node will not talk to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloRefusal {
    /// No hello, or one that makes no sense.
    #[error("the first message is no hello: {0}")]
    Malformed(String),
    /// Another cluster.
    #[error(
        "node {ours} belongs to cluster {our_cluster}, node {theirs} to {their_cluster}: \
         one of them is configured with an address of the other cluster, or has its data folder"
    )]
    OtherCluster {
        /// Who refuses.
        ours: NodeId,
        /// Its cluster.
        our_cluster: ClusterId,
        /// The other side.
        theirs: NodeId,
        /// Its cluster.
        their_cluster: ClusterId,
        /// The node of its cluster that it looks for here.
        meant: NodeId,
    },
    /// The node meant is not the one that answers.
    #[error(
        "node {meant} was called and node {found} is here: \
         the address was given to another node since; {meant} makes its new one known when it starts"
    )]
    OtherNode {
        /// Who was called.
        meant: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// An old copy of a data folder.
    #[error(
        "node {node} was seen at {seen} and now shows {given}: its data folder is an old copy; \
         bring back the newest one, or join as a new node, with an empty folder and another peer address"
    )]
    OldBoot {
        /// Whose folder it is.
        node: NodeId,
        /// The newest start seen.
        seen: BootCount,
        /// What it shows now.
        given: BootCount,
    },
    /// A second copy of a data folder.
    #[error(
        "node {node} was seen at {boot} from another copy of its data folder: stop one of the two; \
         the newest folder is the one to keep"
    )]
    TwinBoot {
        /// Whose folder it is.
        node: NodeId,
        /// The start that both show.
        boot: BootCount,
    },
    /// No protocol in common.
    #[error(transparent)]
    Protocol(#[from] NoProtocol),
}

impl HelloRefusal {
    /// The kind of error that this is to the other side.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::InvalidArgument,
            // The address is stale for now: whoever moved makes itself known.
            Self::OtherNode { .. } => ErrorCode::Unavailable,
            Self::OtherCluster { .. } | Self::OldBoot { .. } | Self::TwinBoot { .. } => {
                ErrorCode::FailedPrecondition
            }
            Self::Protocol(_) => ErrorCode::Unsupported,
        }
    }
}

/// The other end, once its hello was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduced {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) peer_address: String,
    /// What both ends speak.
    pub(crate) protocol: Protocol,
}

impl fmt::Display for Introduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} ({}) at {}, protocol {}",
            self.node, self.boot, self.peer_address, self.protocol
        )
    }
}

impl LocalNode {
    /// This node's hello to another.
    pub(crate) fn hello(&self, to: NodeId) -> v1::PeerHello {
        v1::PeerHello {
            cluster_id: self.cluster.to_string(),
            node_id: self.node.get(),
            boots: self.boot.count.get(),
            boot_mark: self.boot.mark.get(),
            protocol_min: self.protocols.min,
            protocol_max: self.protocols.max,
            client_address: self.client_address.clone(),
            peer_address: self.peer_address.clone(),
            to_node_id: to.get(),
        }
    }

    /// Takes the hello of whoever is at the other end. `seen` gives the newest start seen of a node.
    pub(crate) fn check(
        &self,
        hello: Option<v1::PeerHello>,
        seen: impl FnOnce(NodeId) -> Option<Boot>,
    ) -> Result<Introduced, HelloRefusal> {
        let hello = hello.ok_or_else(|| HelloRefusal::Malformed("it is something else".into()))?;
        let node = NodeId::new(hello.node_id);
        self.check_cluster(&hello)?;
        let meant = NodeId::new(hello.to_node_id);
        if meant != self.node {
            let found = self.node;
            return Err(HelloRefusal::OtherNode { meant, found });
        }
        let protocol = self.agree(&hello)?;
        let boot = Boot {
            count: BootCount::new(hello.boots),
            mark: BootMark::new(hello.boot_mark),
        };
        check_boot(node, boot, seen(node))?;
        Ok(Introduced {
            node,
            boot,
            peer_address: hello.peer_address,
            protocol,
        })
    }

    fn check_cluster(&self, hello: &v1::PeerHello) -> Result<(), HelloRefusal> {
        let their_cluster: ClusterId = (hello.cluster_id.parse())
            .map_err(|error| HelloRefusal::Malformed(format!("{error}")))?;
        if their_cluster == self.cluster {
            return Ok(());
        }
        Err(HelloRefusal::OtherCluster {
            ours: self.node,
            our_cluster: self.cluster,
            theirs: NodeId::new(hello.node_id),
            their_cluster,
            meant: NodeId::new(hello.to_node_id),
        })
    }

    fn agree(&self, hello: &v1::PeerHello) -> Result<Protocol, NoProtocol> {
        let theirs = ProtocolRange {
            min: hello.protocol_min,
            max: hello.protocol_max,
        };
        let ours = format!("node {}", self.node);
        let other = format!("node {}", NodeId::new(hello.node_id));
        self.protocols.agree(ours, theirs, other)
    }
}

fn check_boot(node: NodeId, given: Boot, seen: Option<Boot>) -> Result<(), HelloRefusal> {
    let Some(seen) = seen else {
        return Ok(());
    };
    match given.standing(seen) {
        BootStanding::Newer | BootStanding::Same => Ok(()),
        BootStanding::Older => Err(HelloRefusal::OldBoot {
            node,
            seen: seen.count,
            given: given.count,
        }),
        BootStanding::Twin => Err(HelloRefusal::TwinBoot {
            node,
            boot: given.count,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(count: u64, mark: u64) -> Boot {
        Boot {
            count: BootCount::new(count),
            mark: BootMark::new(mark),
        }
    }

    fn node(id: u64, boots: u64) -> LocalNode {
        LocalNode {
            cluster: ClusterId::from_random(7),
            node: NodeId::new(id),
            boot: boot(boots, 1),
            protocols: ProtocolRange::SPOKEN,
            client_address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
        }
    }

    fn met(
        from: &LocalNode,
        at: &LocalNode,
        seen: Option<u64>,
    ) -> Result<Introduced, HelloRefusal> {
        at.check(Some(from.hello(at.node)), |_| {
            seen.map(|count| boot(count, 1))
        })
    }

    #[test]
    fn node_of_the_same_cluster_is_taken_with_its_newest_address() {
        let introduced = met(&node(3, 5), &node(4, 1), Some(5)).unwrap();
        assert_eq!(introduced.node, NodeId::new(3));
        assert_eq!(introduced.boot, boot(5, 1));
        assert_eq!(introduced.peer_address, "a:2");
        assert!(met(&node(3, 5), &node(4, 1), None).is_ok());
    }

    #[test]
    fn old_copy_of_a_data_folder_is_refused_with_both_counts() {
        let refusal = met(&node(3, 4), &node(4, 1), Some(5)).unwrap_err();
        let message = refusal.to_string();
        assert!(
            message.contains("boot 5") && message.contains("boot 4"),
            "{message}"
        );
        assert!(message.contains("empty folder"), "{message}");
        assert_eq!(refusal.code(), ErrorCode::FailedPrecondition);
    }

    #[test]
    fn second_start_under_one_count_is_refused_as_a_copy() {
        let mut twin = node(3, 5);
        twin.boot.mark = BootMark::new(2);
        let refusal = met(&twin, &node(4, 1), Some(5)).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::FailedPrecondition);
        assert!(refusal.to_string().contains("another copy"), "{refusal}");
        assert!(met(&twin, &node(4, 1), Some(4)).is_ok());
    }

    #[test]
    fn node_of_another_cluster_is_refused_with_both_names() {
        let mut stranger = node(3, 1);
        stranger.cluster = ClusterId::from_random(8);
        let message = met(&stranger, &node(4, 1), None).unwrap_err().to_string();
        for cluster in [7, 8].map(ClusterId::from_random) {
            assert!(message.contains(&cluster.to_string()), "{message}");
        }
    }

    #[test]
    fn call_that_was_meant_for_another_node_is_refused() {
        let hello = node(3, 1).hello(NodeId::new(9));
        let refusal = node(4, 1).check(Some(hello), |_| None).unwrap_err();
        let (meant, found) = (NodeId::new(9), NodeId::new(4));
        assert_eq!(refusal, HelloRefusal::OtherNode { meant, found });
    }

    #[test]
    fn version_without_a_protocol_in_common_is_refused_with_both_ranges() {
        let (mut newer, mut older) = (node(3, 1), node(4, 1));
        newer.protocols = ProtocolRange { min: 6, max: 7 };
        older.protocols = ProtocolRange { min: 4, max: 5 };
        for (from, at) in [(&newer, &older), (&older, &newer)] {
            let refusal = met(from, at, None).unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::Unsupported);
            let message = refusal.to_string();
            for part in ["6 to 7", "4 to 5", "upgrade node n4"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[test]
    fn versions_that_overlap_speak_the_newest_that_both_know() {
        let (mut newer, mut older) = (node(3, 1), node(4, 1));
        newer.protocols = ProtocolRange { min: 5, max: 7 };
        older.protocols = ProtocolRange { min: 4, max: 6 };
        for (from, at) in [(&newer, &older), (&older, &newer)] {
            assert_eq!(met(from, at, None).unwrap().protocol.get(), 6);
        }
    }

    #[test]
    fn silence_or_nonsense_instead_of_a_hello_is_refused() {
        assert!(node(4, 1).check(None, |_| None).is_err());
        let mut hello = node(3, 1).hello(NodeId::new(4));
        hello.cluster_id = "nonsense".to_owned();
        let refusal = node(4, 1).check(Some(hello), |_| None).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::InvalidArgument);
    }
}
