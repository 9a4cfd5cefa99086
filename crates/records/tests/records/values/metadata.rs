//! Random commands of the metadata, and states that commands made.

use std::collections::BTreeSet;

use leasehold_core::metadata::command::{
    AddNode, Addresses, Build, CreateQueue, CreateShard, Found, IntendMembers, NodeStarted,
    SetQueue,
};
use leasehold_core::metadata::controller::plan;
use leasehold_core::metadata::{MetadataCommand, MetadataState};
use leasehold_core::policy::{QueuePolicy, Timings};
use leasehold_types::{
    Boot, BootCount, BootMark, ClusterId, NodeId, RecordFormat, RegionName, ShardId,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::{name, policy};

fn addresses() -> impl Strategy<Value = Addresses> {
    (".{1,20}", ".{1,20}").prop_map(|(client, peer)| Addresses { client, peer })
}

fn timings() -> impl Strategy<Value = Timings> {
    prop_oneof![Just(Timings::Wan), Just(Timings::Lan)]
}

prop_compose! {
    fn found()(
        cluster: u128, virtual_shards: u16, timings in timings(), regions: u16,
    ) -> MetadataCommand {
        let cluster = ClusterId::from_random(cluster);
        MetadataCommand::Found(Found { cluster, virtual_shards, timings, regions })
    }
}

prop_compose! {
    fn boot()(count: u64, mark: u64) -> Boot {
        Boot { count: BootCount::new(count), mark: BootMark::new(mark) }
    }
}

prop_compose! {
    fn build()(version in ".{1,12}", reads in 1..9_u32) -> Build {
        Build { version, reads: RecordFormat::new(reads) }
    }
}

prop_compose! {
    fn add_node(region: impl Strategy<Value = RegionName>)(
        nonce: u128, region in region, addresses in addresses(), boot in boot(), build in build(),
    ) -> MetadataCommand {
        MetadataCommand::AddNode(AddNode { nonce, region, addresses, boot, build })
    }
}

prop_compose! {
    fn node_started()(
        node: u64, boot in boot(), addresses in addresses(), build in build(),
    ) -> MetadataCommand {
        let node = NodeId::new(node);
        MetadataCommand::NodeStarted(NodeStarted { node, boot, addresses, build })
    }
}

prop_compose! {
    fn intend_members()(
        shard: u32, base: u64, voters in btree_set(any::<u64>(), 0..6),
    ) -> MetadataCommand {
        let voters = voters.into_iter().map(NodeId::new).collect();
        MetadataCommand::IntendMembers(IntendMembers { shard: ShardId::new(shard), base, voters })
    }
}

pub(crate) fn command() -> impl Strategy<Value = MetadataCommand> {
    let create_shard = (name(), any::<u64>()).prop_map(|(home, initial)| {
        let initial = NodeId::new(initial);
        MetadataCommand::CreateShard(CreateShard { home, initial })
    });
    let set_queue =
        (name(), option::of(any::<u64>()), policy()).prop_map(|(name, base, policy)| {
            MetadataCommand::SetQueue(SetQueue { name, base, policy })
        });
    let create_queue = (name(), policy())
        .prop_map(|(name, policy)| MetadataCommand::CreateQueue(CreateQueue { name, policy }));
    prop_oneof![
        found(),
        add_node(name()),
        node_started(),
        create_shard,
        intend_members(),
        create_queue,
        set_queue,
    ]
}

/// A cluster that grew: nodes in a few regions, all that the controller makes of them, and queues.
pub(crate) fn state() -> impl Strategy<Value = MetadataState> {
    let region = (0..5_u8).prop_map(|n| RegionName::new(&format!("r{n}")).unwrap());
    let queues = btree_set(name(), 0..3);
    (timings(), vec(add_node(region), 0..9), queues).prop_map(|(timings, joins, queues)| {
        let mut state = MetadataState::default();
        let cluster = ClusterId::from_random(3);
        let (virtual_shards, regions) = (256, 3);
        let found = Found {
            cluster,
            virtual_shards,
            timings,
            regions,
        };
        push(&mut state, MetadataCommand::Found(found));
        joins.into_iter().for_each(|join| push(&mut state, join));
        settle(&mut state);
        for name in queues {
            let policy = QueuePolicy::default();
            push(
                &mut state,
                MetadataCommand::CreateQueue(CreateQueue { name, policy }),
            );
        }
        state
    })
}

fn push(state: &mut MetadataState, command: MetadataCommand) {
    state.apply(state.applied() + 1, &command);
}

fn settle(state: &mut MetadataState) {
    let alive: BTreeSet<NodeId> = state.nodes().map(|node| node.id).collect();
    for _ in 0..2 {
        plan(state, &alive)
            .into_iter()
            .for_each(|command| push(state, command));
    }
}
