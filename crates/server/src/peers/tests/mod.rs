//! What holds between two nodes, whatever the link between them does.

mod world;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use leasehold_api::v1;
use leasehold_api::v1::shard_answer::Answer;
use leasehold_consensus::Transport;
use leasehold_types::{Boot, BootCount, BootMark, GroupId, NodeId};

use super::{CallError, FRAME_BYTES, JoinCallError, Peers, ProtocolRange};
use world::{Wires, down, node, node_of, pair, up};

const TWO: NodeId = NodeId::new(2);
const TTL: Duration = Duration::from_secs(2);

fn shard_call(shard_id: u32) -> v1::ShardCall {
    v1::ShardCall {
        shard_id,
        ..v1::ShardCall::default()
    }
}

fn answered_shard(answer: &v1::ShardAnswer) -> Option<u32> {
    let answer = answer.answer.as_ref()?;
    let Answer::Status(status) = answer else {
        panic!("{answer:?}");
    };
    Some(status.shard_id)
}

#[tokio::test(start_paused = true)]
async fn calls_of_every_kind_are_answered_and_matched() {
    let ((one, _), (two, echo)) = pair(&Wires::default()).await;
    let (first, second) = tokio::join!(
        one.call_shard(TWO, shard_call(7), TTL),
        one.call_shard(TWO, shard_call(8), TTL),
    );
    assert_eq!(answered_shard(&first.unwrap()), Some(7));
    assert_eq!(answered_shard(&second.unwrap()), Some(8));
    let delivered = one.deliver(TWO, v1::Delivery::default(), TTL).await;
    assert_eq!(delivered, Ok(v1::DeliveryAnswer::default()));
    let reply = one.call(TWO, GroupId::new(3), v1::RaftRequest::default(), TTL);
    assert_eq!(reply.await, Ok(v1::RaftReply::default()));
    assert_eq!(*echo.raft.lock().unwrap(), [GroupId::new(3)]);
    // The other direction came about by itself, from the hello.
    let back = two.call_shard(NodeId::new(1), shard_call(9), TTL).await;
    assert_eq!(answered_shard(&back.unwrap()), Some(9));
}

#[tokio::test(start_paused = true)]
async fn messages_of_groups_arrive_in_the_order_in_which_they_were_sent() {
    let ((one, _), (_two, echo)) = pair(&Wires::default()).await;
    let groups: Vec<GroupId> = (0..200).map(GroupId::new).collect();
    let calls = groups
        .iter()
        .map(|group| one.call(TWO, *group, v1::RaftRequest::default(), TTL));
    for reply in futures_util::future::join_all(calls).await {
        assert!(reply.is_ok(), "{reply:?}");
    }
    assert_eq!(*echo.raft.lock().unwrap(), groups);
}

#[tokio::test(start_paused = true)]
async fn node_that_is_not_known_or_not_there_was_certainly_not_called() {
    let ((one, _), _two) = pair(&Wires::default()).await;
    let strange = one.call_shard(NodeId::new(9), shard_call(1), TTL).await;
    assert!(
        matches!(strange, Err(CallError::NotSent { .. })),
        "{strange:?}"
    );
    one.know(NodeId::new(9), BootCount::new(1), "nowhere:1");
    let absent = one.call_shard(NodeId::new(9), shard_call(1), TTL).await;
    assert!(
        matches!(absent, Err(CallError::NotSent { .. })),
        "{absent:?}"
    );
    let own = one.call_shard(NodeId::new(1), shard_call(1), TTL).await;
    assert!(matches!(own, Err(CallError::NotSent { .. })), "{own:?}");
}

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_in_its_time_is_unknown() {
    let ((one, _), _two) = pair(&Wires::default()).await;
    let silent = one
        .call_metadata(TWO, v1::MetadataCall::default(), TTL)
        .await;
    assert!(
        matches!(silent, Err(CallError::Unknown { .. })),
        "{silent:?}"
    );
    assert!(one.is_reachable(TWO), "the link itself is fine");
}

#[tokio::test(start_paused = true)]
async fn cut_link_is_given_up_after_its_silence_and_comes_back_when_it_heals() {
    let wires = Wires::default();
    let ((one, _), (two, _)) = pair(&wires).await;
    wires.cut(true);
    let eaten = one.call_shard(TWO, shard_call(7), TTL * 10).await;
    assert!(matches!(eaten, Err(CallError::Unknown { .. })), "{eaten:?}");
    down(&one, 2).await;
    down(&two, 1).await;
    let unsent = one.call_shard(TWO, shard_call(7), TTL).await;
    assert!(
        matches!(unsent, Err(CallError::NotSent { .. })),
        "{unsent:?}"
    );
    wires.cut(false);
    up(&one, 2).await;
    let answer = one.call_shard(TWO, shard_call(7), TTL).await;
    assert_eq!(answered_shard(&answer.unwrap()), Some(7));
}

#[tokio::test(start_paused = true)]
async fn idle_link_stays_up() {
    let ((one, _), (two, _)) = pair(&Wires::default()).await;
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(one.is_reachable(TWO) && two.is_reachable(NodeId::new(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn node_that_moved_is_found_at_its_new_address() {
    let wires = Wires::default();
    let (one, _) = node(&wires, 1, 1).await;
    one.know(TWO, BootCount::new(1), "nowhere:1");
    let (two, _) = node(&wires, 2, 2).await;
    // It dials, and says in its hello where it is.
    two.know(NodeId::new(1), BootCount::new(1), "node1:1");
    up(&one, 2).await;
}

#[tokio::test(start_paused = true)]
async fn old_copy_of_a_node_gets_no_connection_in_either_direction() {
    let wires = Wires::default();
    let (one, _) = node(&wires, 1, 1).await;
    one.know(TWO, BootCount::new(5), "node2:1");
    let (old, _) = node(&wires, 2, 4).await;
    old.know(NodeId::new(1), BootCount::new(1), "node1:1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!one.is_reachable(TWO) && !old.is_reachable(NodeId::new(1)));
    let refused = old.call_shard(NodeId::new(1), shard_call(1), TTL).await;
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("boot 5") && message.contains("boot 4"),
        "{message}"
    );
}

/// Two nodes that speak these protocols, and know each other.
async fn versions(wires: &Wires, one: ProtocolRange, two: ProtocolRange) -> (Peers, Peers) {
    let (one, _) = node_of(wires, 1, 1, one).await;
    let (two, _) = node_of(wires, 2, 1, two).await;
    one.know(TWO, BootCount::new(1), "node2:1");
    two.know(NodeId::new(1), BootCount::new(1), "node1:1");
    (one, two)
}

const fn range(min: u32, max: u32) -> ProtocolRange {
    ProtocolRange { min, max }
}

#[tokio::test(start_paused = true)]
async fn versions_that_overlap_speak_the_newest_in_common_in_both_directions() {
    let (one, two) = versions(&Wires::default(), range(1, 2), range(2, 4)).await;
    assert_eq!(one.protocol(TWO), None);
    up(&one, 2).await;
    up(&two, 1).await;
    let spoken = |peers: &Peers, node| peers.protocol(node).map(super::Protocol::get);
    assert_eq!(spoken(&one, TWO), Some(2));
    assert_eq!(spoken(&two, NodeId::new(1)), Some(2));
    assert_eq!(one.unreachable_reason(TWO), None);
}

#[tokio::test(start_paused = true)]
async fn versions_too_far_apart_stay_apart_and_each_says_who_is_behind() {
    let (one, two) = versions(&Wires::default(), range(1, 2), range(3, 4)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    for (peers, other) in [(&one, TWO), (&two, NodeId::new(1))] {
        assert!(!peers.is_reachable(other));
        let reason = peers.unreachable_reason(other).unwrap();
        for part in ["1 to 2", "3 to 4", "upgrade node n1"] {
            assert!(reason.contains(part), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn node_that_is_upgraded_is_dialled_at_once_though_it_was_dialled_slowly() {
    let wires = Wires::default();
    let (old, newer) = versions(&wires, range(1, 2), range(3, 4)).await;
    // Long enough that the next try by itself is a long way off.
    tokio::time::sleep(Duration::from_secs(60)).await;
    old.stop().await;
    let (upgraded, _) = node_of(&wires, 1, 2, range(2, 3)).await;
    upgraded.know(TWO, BootCount::new(1), "node2:1");
    up(&upgraded, 2).await;
    let dialled = tokio::time::timeout(TTL, up(&newer, 1)).await;
    assert!(dialled.is_ok(), "it waits for its next slow try");
}

#[tokio::test(start_paused = true)]
async fn second_start_under_one_count_gets_no_connection() {
    let wires = Wires::default();
    let (one, _) = node(&wires, 1, 1).await;
    let mark = BootMark::new(77);
    let count = BootCount::new(4);
    one.know(TWO, Boot { count, mark }, "node2:1");
    let (twin, _) = node(&wires, 2, 4).await;
    twin.know(NodeId::new(1), BootCount::new(1), "node1:1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!one.is_reachable(TWO) && !twin.is_reachable(NodeId::new(1)));
    let reason = twin.unreachable_reason(NodeId::new(1)).unwrap();
    assert!(reason.contains("another copy"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn join_at_something_that_is_no_door_for_nodes_is_told_so() {
    let wires = Wires::default();
    world::stray_door(&wires, "clients:1").await;
    let (one, _) = node(&wires, 1, 1).await;
    let asked = one.join("clients:1", v1::JoinRequest::default(), TTL).await;
    let error = asked.unwrap_err();
    assert!(matches!(error, JoinCallError::WrongDoor { .. }), "{error}");
    assert!(
        error.to_string().contains("client port of node n7"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn snapshot_arrives_whole_on_a_connection_of_its_own() {
    let ((one, _), (_two, echo)) = pair(&Wires::default()).await;
    let part = |number: u64| v1::RaftSnapshotRows {
        before: number,
        rows: Bytes::from(vec![7; 1_000_000]),
        ..v1::RaftSnapshotRows::default()
    };
    let parts = move || stream::iter((0..40).map(part).map(Ok)).boxed();
    let head = v1::RaftSnapshot::default();
    let group = GroupId::new(3);
    let sent = one.send_snapshot(TWO, group, head.clone(), parts(), TTL * 100);
    assert_eq!(sent.await, Ok(v1::RaftReply::default()));
    assert_eq!(*echo.snapshots.lock().unwrap(), [Ok(40_000_000)]);
    // What cannot be read here ends the stream: the other side sees that parts are missing.
    let broken = parts()
        .take(2)
        .chain(stream::iter([Err(io::Error::other("torn"))]));
    let sent = one.send_snapshot(TWO, group, head, broken.boxed(), TTL * 100);
    assert_eq!(sent.await, Ok(v1::RaftReply::default()));
    assert_eq!(echo.snapshots.lock().unwrap()[1], Ok(2_000_000));
}

#[tokio::test(start_paused = true)]
async fn message_over_the_limit_stays_here_and_the_link_stays_up() {
    let ((one, _), _two) = pair(&Wires::default()).await;
    let mut call = shard_call(1);
    call.call = Some(v1::shard_call::Call::Submit(v1::ShardSubmit {
        jobs: vec![v1::NewJob {
            payload: Bytes::from(vec![0; FRAME_BYTES]),
            ..v1::NewJob::default()
        }],
        metadata_index: 0,
    }));
    let refused = one.call_shard(TWO, call, TTL).await;
    assert!(
        matches!(refused, Err(CallError::NotSent { .. })),
        "{refused:?}"
    );
    assert!(one.is_reachable(TWO));
}

#[tokio::test(start_paused = true)]
async fn stopped_peers_end_every_call_and_take_no_more() {
    let ((one, _), (two, _)) = pair(&Wires::default()).await;
    let (silent, ()) = tokio::join!(
        one.call_metadata(TWO, v1::MetadataCall::default(), TTL * 10),
        two.stop(),
    );
    assert!(
        matches!(silent, Err(CallError::Unknown { .. })),
        "{silent:?}"
    );
    down(&one, 2).await;
    one.stop().await;
    let late = one.call_shard(TWO, shard_call(1), TTL).await;
    assert!(matches!(late, Err(CallError::NotSent { .. })), "{late:?}");
}
