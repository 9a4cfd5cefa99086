//! Parts that no commands could have made are refused, never met later as a panic.

use super::*;
use crate::metadata::{MetadataParts, PartsError};

fn parts() -> MetadataParts {
    Cluster::settled(&["a", "b", "c"]).state.parts()
}

#[test]
fn state_survives_being_taken_apart() {
    let state = Cluster::settled(&["a", "b", "c"]).state;
    assert_eq!(MetadataState::from_parts(state.parts()), Ok(state));
    let empty = MetadataState::default();
    assert_eq!(MetadataState::from_parts(empty.parts()), Ok(empty));
}

#[test]
fn records_without_a_founding_are_refused() {
    let founding = None;
    let unfounded = MetadataParts {
        founding,
        ..parts()
    };
    assert_eq!(
        MetadataState::from_parts(unfounded),
        Err(PartsError::NotFounded)
    );
}

#[test]
fn node_from_the_future_or_there_twice_is_refused() {
    let spoils: [fn(&mut MetadataParts); 3] = [
        |parts| parts.applied = 1,
        |parts| parts.nodes[1].id = parts.nodes[0].id,
        |parts| parts.nodes[1].nonce = parts.nodes[0].nonce,
    ];
    for spoil in spoils {
        let mut parts = parts();
        spoil(&mut parts);
        let refused = MetadataState::from_parts(parts).unwrap_err();
        assert!(matches!(refused, PartsError::Node(..)), "{refused}");
    }
}

#[test]
fn shard_that_breaks_a_rule_is_refused() {
    let spoils: [fn(&mut MetadataParts); 8] = [
        |parts| parts.shards[1].id = ShardId::new(9),
        |parts| parts.shards[1].home = region("mars"),
        |parts| parts.shards[1].home = region("a"),
        |parts| parts.shards[1].virtual_count = 0,
        |parts| parts.shards[2].virtual_count = u16::MAX,
        |parts| parts.shards[1].first_virtual = parts.shards[0].first_virtual,
        |parts| parts.shards[1].voters.clear(),
        |parts| parts.shards[1].initial = NodeId::new(99),
    ];
    for spoil in spoils {
        let mut parts = parts();
        spoil(&mut parts);
        let refused = MetadataState::from_parts(parts).unwrap_err();
        assert!(matches!(refused, PartsError::Shard(..)), "{refused}");
    }
}

#[test]
fn queue_that_breaks_a_rule_is_refused() {
    let spoils: [fn(&mut MetadataParts); 4] = [
        |parts| parts.queues.push(parts.queues[0].clone()),
        |parts| parts.queues[0].shards.push(ShardId::new(9)),
        |parts| parts.queues[0].keyed = 0,
        |parts| parts.queues[0].keyed = 4,
    ];
    for spoil in spoils {
        let mut parts = parts();
        spoil(&mut parts);
        let refused = MetadataState::from_parts(parts).unwrap_err();
        assert!(matches!(refused, PartsError::Queue(..)), "{refused}");
    }
}
