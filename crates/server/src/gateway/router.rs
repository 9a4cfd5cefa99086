//! Finds a shard's leader, and repeats a call until it has a definite answer or its time is up.
//!
//! Every call to a shard may be repeated: jobs by their id, a worker's writes by their fence. So a call whose outcome
//! is not known is asked again, of whoever leads now, within the same time; what must never happen is that "not known"
//! ends up as "not done". A leader is looked for where the last answer said, where this node's own replica says, and
//! then among the shard's voters in turn, with jittered waits so that a thousand gateways do not ask in step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_types::{ErrorCode, NodeId, ShardId, Timestamp};
use tokio::time::{sleep, timeout};

use super::candidates::{Candidates, Knowledge};
use crate::cluster::Cluster;
use crate::peers::{CallError, Peers};
use crate::seam::Seam;
use crate::shards::Shards;

/// Between two tries, where nothing says who leads.
const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(20),
    cap: Duration::from_millis(500),
};

/// Longest that one node is given before the call is repeated: a cut link eats what is sent and says nothing.
const TRY: Duration = Duration::from_secs(5);

/// Hints followed one after the other without a wait; more of them and two nodes point at each other.
const HINTS: u32 = 2;

/// Takes calls to the leaders of shards. Clones are cheap and share what is known.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    shards: Shards,
    peers: Peers,
    seam: Seam,
    leaders: Mutex<BTreeMap<ShardId, NodeId>>,
}

/// What came of one try.
enum Tried {
    Answered(Box<v1::ShardAnswer>),
    /// A definite error: repeating changes nothing.
    Refused(ApiError),
    /// Certainly not done; perhaps with the one to ask instead.
    NotDone(ApiError, Option<NodeId>),
    /// May be done.
    Unknown(ApiError),
}

/// One call on its way: what was learnt so far.
struct Course {
    shard: ShardId,
    ends: Timestamp,
    candidates: Candidates,
    hint: Option<NodeId>,
    hints: u32,
    tries: u32,
    maybe_done: bool,
    last: Option<ApiError>,
}

impl Router {
    /// Goes by this node's replicas first and by its connections to others.
    #[must_use]
    pub fn new(cluster: Cluster, shards: Shards, peers: Peers, seam: Seam) -> Self {
        let inner = Inner {
            cluster,
            shards,
            peers,
            seam,
            leaders: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Has the shard's leader answer a call within `ttl`, whoever that is by then.
    ///
    /// # Errors
    /// The leader's own refusal of the whole call; `unavailable` when it is certain that nothing was done;
    /// `unknown` when it may have been done: repeat it with the same ids.
    pub async fn call(
        &self,
        shard: ShardId,
        call: v1::ShardCall,
        ttl: Duration,
    ) -> Result<v1::ShardAnswer, ApiError> {
        let mut course = Course::new(shard, self.now() + ttl);
        loop {
            let Some(node) = self.next_node(&mut course) else {
                self.pause(&mut course, None).await?;
                continue;
            };
            let left = course.ends.since(self.now()).min(longest_try(&call));
            match self.ask(node, call.clone(), left).await {
                Tried::Answered(answer) => {
                    self.remember(shard, node);
                    return Ok(*answer);
                }
                Tried::Refused(error) => return Err(error),
                Tried::NotDone(error, hint) => self.turn_away(&mut course, node, error, hint),
                Tried::Unknown(error) => {
                    course.maybe_done = true;
                    self.turn_away(&mut course, node, error, None);
                }
            }
            self.pause(&mut course, Some(node)).await?;
        }
    }

    /// Whether a call to the shard would find a leader at once, as far as is known here.
    pub(super) fn knows_leader_of(&self, shard: ShardId) -> bool {
        self.leader_of(shard)
            .is_some_and(|leader| self.is_reachable(leader))
    }

    /// Who is thought to lead the shard, for people.
    #[must_use]
    pub fn leader_of(&self, shard: ShardId) -> Option<NodeId> {
        if self.inner.shards.serves(shard) {
            return Some(self.inner.cluster.node());
        }
        self.inner
            .shards
            .leader_of(shard)
            .or_else(|| self.remembered(shard))
    }

    fn next_node(&self, course: &mut Course) -> Option<NodeId> {
        if self.inner.shards.serves(course.shard) {
            return Some(self.inner.cluster.node());
        }
        let known = Knowledge {
            hint: course.hint.take(),
            remembered: self.remembered(course.shard),
            followed: self.inner.shards.leader_of(course.shard),
            voters: self.voters(course.shard),
        };
        course
            .candidates
            .next(&known, |node| self.is_reachable(node))
    }

    fn is_reachable(&self, node: NodeId) -> bool {
        node == self.inner.cluster.node() || self.inner.peers.is_reachable(node)
    }

    /// Those at home first: with all well, one of them leads.
    fn voters(&self, shard: ShardId) -> Vec<NodeId> {
        self.inner.cluster.read(|metadata| {
            let Some(record) = metadata.shard(shard) else {
                return Vec::new();
            };
            let at_home = |node: &NodeId| {
                let region = metadata.node(*node).map(|node| &node.region);
                region == Some(&record.home)
            };
            let mut voters: Vec<NodeId> = record.voters.iter().copied().collect();
            voters.sort_by_key(|node| !at_home(node));
            voters
        })
    }

    async fn ask(&self, node: NodeId, call: v1::ShardCall, left: Duration) -> Tried {
        if node == self.inner.cluster.node() {
            let Ok(answer) = timeout(left, self.inner.shards.call(call)).await else {
                return Tried::Unknown(no_answer(node, left));
            };
            return sorted(answer);
        }
        match self.inner.peers.call_shard(node, call, left).await {
            Ok(answer) => sorted(answer),
            Err(error @ CallError::NotSent { .. }) => Tried::NotDone(
                ApiError::new(ErrorCode::Unavailable, error.to_string()),
                None,
            ),
            Err(error @ CallError::Unknown { .. }) => {
                Tried::Unknown(ApiError::new(ErrorCode::Unknown, error.to_string()))
            }
        }
    }

    fn turn_away(&self, course: &mut Course, node: NodeId, error: ApiError, hint: Option<NodeId>) {
        self.forget(course.shard, node);
        course.candidates.failed(node);
        course.hint = hint.filter(|other| *other != node && course.hints < HINTS);
        course.last = Some(error);
    }

    /// Waits before the next try, or says how the call ended if its time is up by then.
    async fn pause(&self, course: &mut Course, asked: Option<NodeId>) -> Result<(), ApiError> {
        let left = course.ends.since(self.now());
        if left.is_zero() {
            return Err(course.given_up(asked));
        }
        if course.hint.is_some() {
            course.hints += 1;
            return Ok(());
        }
        course.hints = 0;
        course.tries += 1;
        let wait = backoff(&BACKOFF, course.tries, self.inner.seam.entropy.next());
        sleep((wait + BACKOFF.base / 4).min(left)).await;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.inner.seam.clock.now()
    }

    fn remembered(&self, shard: ShardId) -> Option<NodeId> {
        self.leaders().get(&shard).copied()
    }

    fn remember(&self, shard: ShardId, node: NodeId) {
        self.leaders().insert(shard, node);
    }

    fn forget(&self, shard: ShardId, node: NodeId) {
        let mut leaders = self.leaders();
        if leaders.get(&shard) == Some(&node) {
            leaders.remove(&shard);
        }
    }

    fn leaders(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, NodeId>> {
        self.inner
            .leaders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn new(shard: ShardId, ends: Timestamp) -> Self {
        Self {
            shard,
            ends,
            candidates: Candidates::default(),
            hint: None,
            hints: 0,
            tries: 0,
            maybe_done: false,
            last: None,
        }
    }

    /// SUBTLE: once one try may have been done, the call as a whole may have been done, whatever later tries said.
    fn given_up(&self, asked: Option<NodeId>) -> ApiError {
        let shard = self.shard;
        let last = match (&self.last, asked) {
            (Some(error), _) => error.message.clone(),
            (None, _) => format!("no voter of shard {shard} is known yet"),
        };
        if self.maybe_done {
            return ApiError::new(
                ErrorCode::Unknown,
                format!(
                    "it is not known whether shard {shard} did this, repeat it with the same id: {last}"
                ),
            );
        }
        let mut error = ApiError::new(
            ErrorCode::Unavailable,
            format!(
                "no leader of shard {shard} could be reached in time, nothing was done: {last}"
            ),
        );
        error.retry_after = Some(BACKOFF.cap);
        error
    }
}

/// An error of the whole call decides how to go on; anything else is the answer.
fn sorted(answer: v1::ShardAnswer) -> Tried {
    let Some(v1::shard_answer::Answer::Error(error)) = answer.answer else {
        return Tried::Answered(Box::new(answer));
    };
    let error = ApiError::from(error);
    match error.code {
        ErrorCode::NotLeader | ErrorCode::Unavailable => {
            let hint = error.leader.as_ref().map(|hint| NodeId::new(hint.node_id));
            Tried::NotDone(error, hint)
        }
        ErrorCode::Unknown => Tried::Unknown(error),
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::Conflict
        | ErrorCode::ResourceExhausted
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported
        | ErrorCode::Internal => Tried::Refused(error),
    }
}

fn longest_try(call: &v1::ShardCall) -> Duration {
    match &call.call {
        Some(v1::shard_call::Call::Wait(wait)) => Duration::from_millis(wait.timeout_ms) + TRY,
        Some(_) | None => TRY,
    }
}

fn no_answer(node: NodeId, left: Duration) -> ApiError {
    let message = format!("node {node} gave no answer within {left:?}");
    ApiError::new(ErrorCode::Unknown, message)
}
