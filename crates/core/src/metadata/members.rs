//! Which sets of nodes may vote together.
//!
//! 1, 3 or 5: an even number costs one more answer per write and survives no more losses than the odd one below.

use std::collections::BTreeSet;

use leasehold_types::{NodeId, RegionName};

use super::outcome::MetadataRefusal;
use super::state::MetadataState;
use crate::policy::Placement;

/// Checks the voters of a group: their number, that all are known, and that they live where the placement says.
pub(super) fn check(
    state: &MetadataState,
    placement: Placement,
    home: &RegionName,
    voters: &BTreeSet<NodeId>,
) -> Result<(), MetadataRefusal> {
    if !matches!(voters.len(), 1 | 3 | 5) {
        return Err(MetadataRefusal::Invalid(format!(
            "{} voters: give 1, 3 or 5",
            voters.len()
        )));
    }
    let regions = regions_of(state, voters)?;
    match placement {
        Placement::Global if regions.len() < voters.len() => Err(MetadataRefusal::Invalid(
            "two voters in one region would be lost together: give each a region of its own".into(),
        )),
        Placement::Regional if regions.iter().any(|region| *region != home) => {
            Err(MetadataRefusal::Invalid(format!(
                "a regional shard lives in {home} alone: give nodes of {home}"
            )))
        }
        Placement::Global | Placement::Regional => Ok(()),
    }
}

/// The regions that these nodes are in.
pub(super) fn regions_of<'a>(
    state: &'a MetadataState,
    nodes: &BTreeSet<NodeId>,
) -> Result<BTreeSet<&'a RegionName>, MetadataRefusal> {
    let region = |id: &NodeId| match state.node(*id) {
        Some(node) => Ok(&node.region),
        None => Err(MetadataRefusal::UnknownNode(*id)),
    };
    nodes.iter().map(region).collect()
}
