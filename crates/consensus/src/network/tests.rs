//! How appends flow to one follower.

use std::sync::Mutex;
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};
use leasehold_api::v1::raft_request;
use openraft::entry::RaftEntry;
use openraft::raft::StreamAppendError;
use tokio::sync::oneshot;

use super::*;
use crate::tests::Counter;
use crate::types::{Entry, EntryPayload, LeaderId};

type Asked = (v1::RaftRequest, Duration, oneshot::Sender<Answer>);
type Answer = Result<v1::RaftReply, TransportError>;
type IsRight = fn(&Failure<Counter>) -> bool;

/// Keeps every question until the test answers it.
#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<Asked>>,
}

impl Desk {
    fn open(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Answers the oldest question, and says which entry it ended with and how long it would have waited.
    fn answer(&self, answer: Answer) -> (u64, Duration) {
        let (request, ttl, reply) = self.asked.lock().unwrap().remove(0);
        let Some(raft_request::Body::Append(append)) = request.body else {
            panic!("only appends are asked here");
        };
        reply.send(answer).unwrap();
        let last = append.entries.last().unwrap().id.as_ref().unwrap();
        (last.index, ttl)
    }
}

impl Transport for Desk {
    fn call(
        &self,
        _to: NodeId,
        _group: GroupId,
        request: v1::RaftRequest,
        ttl: Duration,
    ) -> BoxFuture<'static, Answer> {
        let (reply, answered) = oneshot::channel();
        self.asked.lock().unwrap().push((request, ttl, reply));
        answered.map(|answer| answer.unwrap()).boxed()
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        _group: GroupId,
        _snapshot: v1::RaftSnapshot,
        _parts: crate::SnapshotParts,
        _ttl: Duration,
    ) -> BoxFuture<'static, Answer> {
        let reason = "no snapshots here".to_owned();
        ready(Err(TransportError::Unreachable { to, reason })).boxed()
    }
}

fn network(desk: &Arc<Desk>) -> Network {
    Network {
        transport: Arc::clone(desk) as _,
        group: GroupId::new(1),
        node: NodeId::new(1),
        append_timeout: Duration::from_secs(2),
    }
}

const ENTRIES: Line = Line::Entries { acknowledged: None };

fn id(index: u64) -> LogId {
    let leader = LeaderId {
        term: 1,
        node_id: 1,
    };
    LogId::new(leader, index)
}

/// An append of the one entry at an index.
fn append(index: u64) -> AppendEntriesRequest<Types<Counter>> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: index.checked_sub(1).map(id),
        entries: vec![Entry::<Counter>::new(
            id(index),
            EntryPayload::<Counter>::Blank,
        )],
        leader_commit: None,
    }
}

fn stored() -> Answer {
    Ok(wire::append_reply::<Counter>(
        &AppendEntriesResponse::Success,
    ))
}

fn conflict() -> Answer {
    Ok(wire::append_reply::<Counter>(
        &AppendEntriesResponse::Conflict,
    ))
}

async fn answers(
    peer: &mut Peer,
    indexes: std::ops::Range<u64>,
) -> BoxStream<'_, Appended<Counter>> {
    let appends = stream::iter(indexes.map(append));
    let option = RPCOption::new(Duration::from_millis(500));
    peer.stream_append(appends, option).await.unwrap()
}

#[tokio::test]
async fn several_appends_are_under_way_and_no_more_than_the_limit() {
    let desk = Arc::new(Desk::default());
    let mut peer = network(&desk).peer(2, ENTRIES);
    let mut answers = answers(&mut peer, 1..100).await;
    assert!(poll!(answers.next()).is_pending());
    assert_eq!(desk.open(), PIPELINE);
    let (first, ttl) = desk.answer(stored());
    assert_eq!((first, ttl), (1, Duration::from_secs(2)));
    assert!(matches!(answers.next().await, Some(Ok(Ok(Some(last)))) if last == id(1)));
    assert!(poll!(answers.next()).is_pending());
    assert_eq!(desk.open(), PIPELINE);
}

#[tokio::test]
async fn heartbeat_is_given_up_when_openraft_says() {
    let desk = Arc::new(Desk::default());
    let mut factory = network(&desk);
    let mut peer =
        RaftNetworkFactory::<Types<Counter>>::new_heartbeat_client(&mut factory, 2, &()).await;
    let mut answers = answers(&mut peer, 1..2).await;
    assert!(poll!(answers.next()).is_pending());
    let (_, ttl) = desk.answer(stored());
    assert_eq!(ttl, Duration::from_millis(375));
}

#[tokio::test]
async fn stream_ends_with_the_first_answer_that_is_no_plain_success() {
    let partly = AppendEntriesResponse::PartialSuccess(Some(id(0)));
    let higher = AppendEntriesResponse::HigherVote(Vote::new(9, 3));
    for reply in [partly, AppendEntriesResponse::Conflict, higher] {
        let desk = Arc::new(Desk::default());
        let mut peer = network(&desk).peer(2, ENTRIES);
        let mut answers = answers(&mut peer, 1..9).await;
        assert!(poll!(answers.next()).is_pending());
        desk.answer(Ok(wire::append_reply::<Counter>(&reply)));
        assert!(matches!(poll!(answers.next()), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(poll!(answers.next()), Poll::Ready(None)));
    }
}

#[tokio::test]
async fn conflict_names_the_entry_before_and_one_before_all_entries_is_nonsense() {
    let desk = Arc::new(Desk::default());
    let conflict = || {
        Ok(wire::append_reply::<Counter>(
            &AppendEntriesResponse::Conflict,
        ))
    };
    let mut peer = network(&desk).peer(2, ENTRIES);
    let mut fifth = answers(&mut peer, 5..6).await;
    assert!(poll!(fifth.next()).is_pending());
    desk.answer(conflict());
    let answer = fifth.next().await;
    assert!(matches!(answer, Some(Ok(Err(StreamAppendError::Conflict(at)))) if at == id(4)));
    drop(fifth);
    let mut first = answers(&mut peer, 0..1).await;
    assert!(poll!(first.next()).is_pending());
    desk.answer(conflict());
    assert!(matches!(
        first.next().await,
        Some(Err(RPCError::Network(_)))
    ));
}

#[tokio::test]
async fn every_way_of_getting_no_answer_has_openrafts_word_for_it() {
    let to = NodeId::new(2);
    let reason = || "as the test ordered".to_owned();
    let ttl = Duration::from_secs(1);
    let cases: [(Answer, IsRight); 4] = [
        (Err(TransportError::TimedOut { to, ttl }), |error| {
            matches!(error, RPCError::Timeout(_))
        }),
        (
            Err(TransportError::Broken {
                to,
                reason: reason(),
            }),
            |error| matches!(error, RPCError::Network(_)),
        ),
        (
            Err(TransportError::Unreachable {
                to,
                reason: reason(),
            }),
            |error| matches!(error, RPCError::Unreachable(_)),
        ),
        (Ok(wire::refusal(reason())), |error| {
            matches!(error, RPCError::Unreachable(_))
        }),
    ];
    for (answer, is_right) in cases {
        let desk = Arc::new(Desk::default());
        let mut peer = network(&desk).peer(2, ENTRIES);
        let mut answers = answers(&mut peer, 1..2).await;
        assert!(poll!(answers.next()).is_pending());
        desk.answer(answer);
        let Some(Err(error)) = answers.next().await else {
            panic!("an error must end the stream");
        };
        assert!(is_right(&error), "{error}");
    }
}

#[tokio::test]
async fn append_that_overtook_another_is_repeated_and_no_conflict() {
    let desk = Arc::new(Desk::default());
    let mut peer = network(&desk).peer(2, ENTRIES);
    let mut overtaken = answers(&mut peer, 5..7).await;
    assert!(poll!(overtaken.next()).is_pending());
    desk.answer(stored());
    desk.answer(conflict());
    assert!(matches!(overtaken.next().await, Some(Ok(Ok(_)))));
    assert!(matches!(
        overtaken.next().await,
        Some(Err(RPCError::Network(_)))
    ));
    assert!(overtaken.next().await.is_none());
}

#[tokio::test]
async fn follower_that_lost_what_it_acknowledged_does_not_break_the_leader() {
    let desk = Arc::new(Desk::default());
    for line in [ENTRIES, Line::Heartbeats] {
        let mut peer = network(&desk).peer(2, line);
        peer.line.note(Some(id(9)));
        let mut behind = answers(&mut peer, 5..6).await;
        assert!(poll!(behind.next()).is_pending());
        desk.answer(conflict());
        let Some(Err(error)) = behind.next().await else {
            panic!("the conflict must not reach openraft");
        };
        assert!(
            error.to_string().contains("lost part of its log"),
            "{error}"
        );
    }
}
