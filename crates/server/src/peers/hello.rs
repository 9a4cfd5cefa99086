//! Who is at the other end: the first message in each direction of every exchange.
//!
//! Checked by both ends, as values: a node of another cluster, a node that was meant for another address, an old copy
//! of a data folder and a version too far away are each refused by name. An old copy must be kept out here already,
//! since its votes would be counted a second time.

use std::fmt;

use leasehold_api::v1;
use leasehold_types::{BootCount, ClusterId, ErrorCode, NodeId};

/// Oldest protocol between nodes that this version speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest protocol between nodes that this version speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Which start of its data folder this is.
    pub boots: BootCount,
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
        "node {ours} belongs to cluster {our_cluster}, the other side to {their_cluster}: \
         one of them is configured with an address of the other cluster, or has its data folder"
    )]
    OtherCluster {
        /// Who refuses.
        ours: NodeId,
        /// Its cluster.
        our_cluster: ClusterId,
        /// The other side's.
        their_cluster: ClusterId,
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
         bring back the newest one, or start it with an empty folder to join as a new node"
    )]
    OldBoot {
        /// Whose folder it is.
        node: NodeId,
        /// The newest start seen.
        seen: BootCount,
        /// What it shows now.
        given: BootCount,
    },
    /// No protocol in common.
    #[error(
        "node {ours} speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX} between nodes, node {theirs} speaks {min} to {max}: \
         upgrade one version at a time"
    )]
    Protocol {
        /// Who refuses.
        ours: NodeId,
        /// The other side.
        theirs: NodeId,
        /// Oldest protocol that the other side speaks.
        min: u32,
        /// Newest protocol that the other side speaks.
        max: u32,
    },
}

impl HelloRefusal {
    /// The kind of error that this is to the other side.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::InvalidArgument,
            // The address is stale for now: whoever moved makes itself known.
            Self::OtherNode { .. } => ErrorCode::Unavailable,
            Self::OtherCluster { .. } | Self::OldBoot { .. } => ErrorCode::FailedPrecondition,
            Self::Protocol { .. } => ErrorCode::Unsupported,
        }
    }
}

/// The other end, once its hello was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduced {
    pub(crate) node: NodeId,
    pub(crate) boots: BootCount,
    pub(crate) peer_address: String,
}

impl fmt::Display for Introduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node {} ({}) at {}",
            self.node, self.boots, self.peer_address
        )
    }
}

impl LocalNode {
    /// This node's hello to another.
    pub(crate) fn hello(&self, to: NodeId) -> v1::PeerHello {
        v1::PeerHello {
            cluster_id: self.cluster.to_string(),
            node_id: self.node.get(),
            boots: self.boots.get(),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            client_address: self.client_address.clone(),
            peer_address: self.peer_address.clone(),
            to_node_id: to.get(),
        }
    }

    /// Takes the hello of whoever is at the other end. `seen` gives the newest start seen of a node.
    pub(crate) fn check(
        &self,
        hello: Option<v1::PeerHello>,
        seen: impl FnOnce(NodeId) -> Option<BootCount>,
    ) -> Result<Introduced, HelloRefusal> {
        let hello = hello.ok_or_else(|| HelloRefusal::Malformed("it is something else".into()))?;
        let theirs = NodeId::new(hello.node_id);
        self.check_cluster(&hello.cluster_id)?;
        let meant = NodeId::new(hello.to_node_id);
        if meant != self.node {
            let found = self.node;
            return Err(HelloRefusal::OtherNode { meant, found });
        }
        self.check_protocol(theirs, hello.protocol_min, hello.protocol_max)?;
        let given = BootCount::new(hello.boots);
        match seen(theirs) {
            Some(seen) if given < seen => Err(HelloRefusal::OldBoot {
                node: theirs,
                seen,
                given,
            }),
            Some(_) | None => Ok(Introduced {
                node: theirs,
                boots: given,
                peer_address: hello.peer_address,
            }),
        }
    }

    fn check_cluster(&self, theirs: &str) -> Result<(), HelloRefusal> {
        let their_cluster: ClusterId = theirs
            .parse()
            .map_err(|error| HelloRefusal::Malformed(format!("{error}")))?;
        if their_cluster == self.cluster {
            return Ok(());
        }
        Err(HelloRefusal::OtherCluster {
            ours: self.node,
            our_cluster: self.cluster,
            their_cluster,
        })
    }

    fn check_protocol(&self, theirs: NodeId, min: u32, max: u32) -> Result<(), HelloRefusal> {
        if speaks_one_of(min, max) {
            return Ok(());
        }
        Err(HelloRefusal::Protocol {
            ours: self.node,
            theirs,
            min,
            max,
        })
    }
}

/// Whether some protocol is in both ranges.
pub(crate) const fn speaks_one_of(min: u32, max: u32) -> bool {
    min <= max && min <= PROTOCOL_MAX && max >= PROTOCOL_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, boots: u64) -> LocalNode {
        LocalNode {
            cluster: ClusterId::from_random(7),
            node: NodeId::new(id),
            boots: BootCount::new(boots),
            client_address: "a:1".to_owned(),
            peer_address: "a:2".to_owned(),
        }
    }

    fn met(
        from: &LocalNode,
        at: &LocalNode,
        seen: Option<u64>,
    ) -> Result<Introduced, HelloRefusal> {
        at.check(Some(from.hello(at.node)), |_| seen.map(BootCount::new))
    }

    #[test]
    fn node_of_the_same_cluster_is_taken_with_its_newest_address() {
        let introduced = met(&node(3, 5), &node(4, 1), Some(5)).unwrap();
        assert_eq!(introduced.node, NodeId::new(3));
        assert_eq!(introduced.boots, BootCount::new(5));
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
        let mut hello = node(3, 1).hello(NodeId::new(4));
        hello.protocol_min = PROTOCOL_MAX + 1;
        hello.protocol_max = PROTOCOL_MAX + 2;
        let refusal = node(4, 1).check(Some(hello), |_| None).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::Unsupported);
        let message = refusal.to_string();
        assert!(
            message.contains(&format!("{} to {}", PROTOCOL_MAX + 1, PROTOCOL_MAX + 2)),
            "{message}"
        );
        assert!(speaks_one_of(0, PROTOCOL_MAX) && !speaks_one_of(2, 1));
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
