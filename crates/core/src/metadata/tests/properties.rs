//! Whatever is thrown at the metadata, in any order: its rules hold.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_types::{IdempotencyKey, TenantName, VirtualShard};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::metadata::controller::metadata_voters;
use crate::metadata::routing::virtual_shard_for_key;
use crate::policy::Placement;

/// Small enough that commands meet each other's nodes, shards and queues.
const NODES: u64 = 24;

fn any_region() -> impl Strategy<Value = RegionName> {
    (0..7_u8).prop_map(|n| region(&format!("r{n}")))
}

fn any_node() -> impl Strategy<Value = NodeId> {
    (0..NODES).prop_map(NodeId::new)
}

fn any_policy() -> impl Strategy<Value = QueuePolicy> {
    (10..40_u64, any::<bool>()).prop_map(|(lease, regional)| QueuePolicy {
        lease: Duration::from_secs(lease),
        placement: if regional {
            Placement::Regional
        } else {
            Placement::Global
        },
        ..QueuePolicy::default()
    })
}

fn any_queue() -> impl Strategy<Value = QueueName> {
    prop_oneof![Just("default"), Just("chat"), Just("video")].prop_map(queue)
}

fn any_found() -> impl Strategy<Value = MetadataCommand> {
    (0..3_u128, 0..100_u16, 0..5_u16).prop_map(|(cluster, virtual_shards, regions)| {
        MetadataCommand::Found(Found {
            cluster: ClusterId::from_random(cluster),
            virtual_shards,
            timings: Timings::Wan,
            regions,
        })
    })
}

fn any_join() -> impl Strategy<Value = MetadataCommand> {
    (0..12_u128, any_region(), 0..4_u64, 1..4_u32).prop_map(|(nonce, region, boot, reads)| {
        MetadataCommand::AddNode(AddNode {
            region,
            build: build("any", reads),
            ..join(nonce, "any", boot)
        })
    })
}

fn any_create_shard() -> impl Strategy<Value = MetadataCommand> {
    (any_region(), any_node())
        .prop_map(|(home, initial)| MetadataCommand::CreateShard(CreateShard { home, initial }))
}

fn any_intend() -> impl Strategy<Value = MetadataCommand> {
    (0..8_u32, 0..60_u64, btree_set(any_node(), 0..6)).prop_map(|(shard, base, voters)| {
        let shard = ShardId::new(shard);
        MetadataCommand::IntendMembers(IntendMembers {
            shard,
            base,
            voters,
        })
    })
}

fn any_command() -> impl Strategy<Value = MetadataCommand> {
    prop_oneof![
        1 => any_found(),
        6 => any_join(),
        1 => (any_node(), 0..5_u64).prop_map(|(n, boot)| MetadataCommand::NodeStarted(start(n, boot))),
        6 => any_create_shard(),
        4 => any_intend(),
        2 => (any_queue(), any_policy())
            .prop_map(|(name, policy)| MetadataCommand::CreateQueue(CreateQueue { name, policy })),
        2 => (any_queue(), proptest::option::of(0..60_u64), any_policy())
            .prop_map(|(name, base, policy)| MetadataCommand::SetQueue(SetQueue { name, base, policy })),
    ]
}

/// Commands with gaps between their indexes; now and then, in place of one, all that the controller plans. Random
/// commands alone seldom make a shard, and never a wide one.
fn any_log() -> impl Strategy<Value = Vec<(u64, MetadataCommand)>> {
    let step = prop_oneof![4 => any_command().prop_map(Some), 1 => Just(None)];
    vec((1..3_u64, step), 0..60).prop_map(|steps| {
        let mut log = Log::default();
        log.push(1, MetadataCommand::Found(found(2)));
        steps
            .into_iter()
            .for_each(|(gap, step)| log.step(gap, step));
        log.entries
    })
}

#[derive(Default)]
struct Log {
    state: MetadataState,
    entries: Vec<(u64, MetadataCommand)>,
}

impl Log {
    fn step(&mut self, gap: u64, command: Option<MetadataCommand>) {
        let planned = || plan(&self.state, &everyone(&self.state));
        let commands = command.map_or_else(planned, |command| vec![command]);
        commands
            .into_iter()
            .for_each(|command| self.push(gap, command));
    }

    fn push(&mut self, gap: u64, command: MetadataCommand) {
        let index = self.state.applied() + gap;
        self.state.apply(index, &command);
        self.entries.push((index, command));
    }
}

fn replay(log: &[(u64, MetadataCommand)]) -> MetadataState {
    let mut state = MetadataState::default();
    for (index, command) in log {
        state.apply(*index, command);
    }
    state
}

fn everyone(state: &MetadataState) -> BTreeSet<NodeId> {
    state.nodes().map(|node| node.id).collect()
}

fn check_voters(state: &MetadataState) {
    for shard in state.shards() {
        assert!(matches!(shard.voters.len(), 1 | 3 | 5), "{shard:?}");
        let regions = shard
            .voters
            .iter()
            .map(|id| &state.node(*id).unwrap().region);
        assert_eq!(regions.collect::<BTreeSet<_>>().len(), shard.voters.len());
    }
}

fn check_slices(state: &MetadataState) {
    let used = state.slices_used();
    for slice in (0..used).map(VirtualShard::new) {
        let holders = state.shards().filter(|shard| shard.holds(slice));
        let holders: Vec<ShardId> = holders.map(|shard| shard.id).collect();
        assert_eq!(holders, Vec::from_iter(state.shard_of(slice)));
    }
    assert_eq!(state.shard_of(VirtualShard::new(used)), None);
}

/// Where a sample of keys of every queue leads.
fn routes(state: &MetadataState) -> BTreeMap<(QueueName, u32), VirtualShard> {
    let tenant = TenantName::new("acme").unwrap();
    let mut routes = BTreeMap::new();
    for queue in state.queues() {
        for number in 0..12 {
            let key = IdempotencyKey::new(&number.to_string()).unwrap();
            let slice = virtual_shard_for_key(queue, state, &tenant, &key).unwrap();
            routes.insert((queue.name.clone(), number), slice);
        }
    }
    routes
}

proptest! {
    #[test]
    fn what_is_written_is_read_by_all_and_never_falls(log in any_log()) {
        let mut state = MetadataState::default();
        let mut before = state.format();
        for (index, command) in &log {
            state.apply(*index, command);
            prop_assert!(state.nodes().all(|node| node.build.reads >= state.format()));
            prop_assert!(state.format() >= before);
            before = state.format();
        }
    }

    #[test]
    fn voters_are_odd_and_apart_and_slices_have_one_holder(log in any_log()) {
        let mut state = MetadataState::default();
        for (index, command) in &log {
            state.apply(*index, command);
            check_voters(&state);
            check_slices(&state);
        }
    }

    #[test]
    fn ids_are_never_used_twice(log in any_log()) {
        let mut state = MetadataState::default();
        let (mut nodes, mut shards) = (BTreeMap::new(), BTreeMap::new());
        for (index, command) in &log {
            state.apply(*index, command);
            for node in state.nodes() {
                prop_assert_eq!(nodes.entry(node.id).or_insert(node.nonce), &node.nonce);
            }
            for shard in state.shards() {
                let home = shard.home.clone();
                prop_assert_eq!(shards.entry(shard.id).or_insert(home), &shard.home);
            }
        }
        prop_assert_eq!((nodes.len(), shards.len()), (state.nodes().len(), state.shards().len()));
    }

    #[test]
    fn replicas_agree_though_one_came_by_a_snapshot(log in any_log(), cut in any::<prop::sample::Index>()) {
        let (head, tail) = log.split_at(cut.index(log.len()));
        let mut late = MetadataState::from_parts(replay(head).parts()).unwrap();
        for (index, command) in tail {
            late.apply(*index, command);
        }
        prop_assert_eq!(late, replay(&log));
    }

    #[test]
    fn keys_of_a_queue_never_change_their_slice(log in any_log()) {
        let mut state = MetadataState::default();
        let mut before = BTreeMap::new();
        for (index, command) in &log {
            state.apply(*index, command);
            let after = routes(&state);
            for (key, slice) in &before {
                prop_assert_eq!(after.get(key), Some(slice));
            }
            before = after;
        }
    }

    #[test]
    fn plan_comes_to_an_end_without_a_refusal(log in any_log(), silent in btree_set(any_node(), 0..4)) {
        let mut state = replay(&log);
        let alive: BTreeSet<NodeId> = everyone(&state).difference(&silent).copied().collect();
        for _ in 0..2 {
            for command in plan(&state, &alive) {
                let outcome = state.apply(state.applied() + 1, &command);
                prop_assert!(!matches!(outcome, MetadataOutcome::Refused(_)), "{:?}", outcome);
            }
            check_voters(&state);
        }
        prop_assert_eq!(plan(&state, &alive), vec![]);
    }

    #[test]
    fn metadata_only_ever_widens_to_an_odd_number_in_as_many_regions(
        log in any_log(), first in any::<prop::sample::Index>(), silent in btree_set(any_node(), 0..4),
    ) {
        let state = replay(&log);
        let all = everyone(&state);
        let alive = all.difference(&silent).copied().collect();
        let mut voters: BTreeSet<NodeId> = all.iter().nth(first.index(all.len().max(1))).copied().into_iter().collect();
        while let Some(wider) = metadata_voters(&state, &voters, &alive) {
            prop_assert!(matches!(wider.len(), 3 | 5) && wider.is_superset(&voters));
            prop_assert!(wider.len() > voters.len());
            let regions: BTreeSet<_> = wider.iter().map(|id| &state.node(*id).unwrap().region).collect();
            prop_assert_eq!(regions.len(), wider.len());
            voters = wider;
        }
    }
}
