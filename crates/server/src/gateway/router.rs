//! Finds a shard's leader, and repeats a call until it has a definite answer or its time is up.
//!
//! Every call to a shard may be repeated: jobs by their id, a worker's writes by their fence. So a call whose outcome
//! is not known is asked again, of whoever leads now, within the same time; what must never happen is that "not known"
//! ends up as "not done". A leader is looked for where the last answer said, where this node's own replica says, and
//! then among the shard's voters in turn, with jittered waits so that a thousand gateways do not ask in step.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use leasehold_api::{ApiError, v1};
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_core::shard::command::Submit;
use leasehold_types::{NodeId, ShardId, Timestamp};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::candidates::Knowledge;
use super::course::{Course, Tried, sorted};
use super::odd;
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
        let longest = longest_try(&call);
        let ask = |node, left| self.ask(node, call.clone(), left).boxed();
        self.drive(shard, ttl, longest, ask).await
    }

    /// Has the shard's leader take jobs in, as [`Router::call`] does, each with its own answer in order.
    pub(super) async fn submit(
        &self,
        shard: ShardId,
        jobs: Vec<Submit>,
        metadata_index: u64,
        ttl: Duration,
    ) -> Result<Vec<v1::SubmitResult>, ApiError> {
        let ask = |node, left| {
            let jobs = jobs.clone();
            self.ask_to_take(node, shard, jobs, metadata_index, left)
                .boxed()
        };
        self.drive(shard, ttl, TRY, ask).await
    }

    /// Asks one node after the other, each for at most `longest`, until one answers or the time is up.
    async fn drive<'a, T>(
        &self,
        shard: ShardId,
        ttl: Duration,
        longest: Duration,
        ask: impl Fn(NodeId, Duration) -> BoxFuture<'a, Tried<T>>,
    ) -> Result<T, ApiError> {
        let mut course = Course::new(shard, self.now() + ttl);
        let mut leaders = None;
        loop {
            if let Some(node) = self.next_node(&mut course) {
                let left = course.ends.since(self.now()).min(longest);
                match ask(node, left).await {
                    Tried::Answered(answer) => {
                        self.remember(shard, node);
                        return Ok(answer);
                    }
                    Tried::Refused(error) => return Err(error),
                    Tried::NotDone(error, hint) => course.not_done(node, error, hint),
                    Tried::Unknown(error) => course.unknown(node, error),
                }
                self.forget(shard, node);
            }
            self.pause(&mut course, &mut leaders).await?;
        }
    }

    /// Waits before the next try, until it is learnt who leads at most, or says how the call ended if its time is up by
    /// then.
    async fn pause(
        &self,
        course: &mut Course,
        leaders: &mut Option<watch::Receiver<()>>,
    ) -> Result<(), ApiError> {
        let left = course.ends.since(self.now());
        if left.is_zero() {
            return Err(course.given_up(BACKOFF.cap));
        }
        if course.follows_a_hint() {
            return Ok(());
        }
        course.tries += 1;
        let wait = self.jittered(course.tries) + BACKOFF.base / 4;
        let leaders = leaders.get_or_insert_with(|| self.inner.shards.leaders());
        let shards = &self.inner.shards;
        let leader = || (shards.serves(course.shard), shards.leader_of(course.shard));
        if learnt_within(leaders, wait.min(left), leader).await {
            self.spread(course).await;
            course.learnt();
        }
        Ok(())
    }

    /// Gateways that learn of a leader at the same moment do not all ask it at the same moment.
    async fn spread(&self, course: &Course) {
        if !self.inner.shards.serves(course.shard) {
            let left = course.ends.since(self.now());
            sleep(self.jittered(1).min(left / 2)).await;
        }
    }

    fn jittered(&self, tries: u32) -> Duration {
        backoff(&BACKOFF, tries, self.inner.seam.entropy.next())
    }

    async fn ask(
        &self,
        node: NodeId,
        call: v1::ShardCall,
        left: Duration,
    ) -> Tried<v1::ShardAnswer> {
        if node == self.inner.cluster.node() {
            let answer = timeout(left, self.inner.shards.call(call)).await;
            return answer.map_or_else(|_| no_answer(node, left), sorted);
        }
        match self.inner.peers.call_shard(node, call, left).await {
            Ok(answer) => sorted(answer),
            Err(error @ CallError::NotSent { .. }) => {
                Tried::NotDone(ApiError::unavailable(error.to_string()), None)
            }
            Err(error @ CallError::Unknown { .. }) => {
                Tried::Unknown(ApiError::unknown(error.to_string()))
            }
        }
    }

    async fn ask_to_take(
        &self,
        node: NodeId,
        shard: ShardId,
        jobs: Vec<Submit>,
        metadata_index: u64,
        left: Duration,
    ) -> Tried<Vec<v1::SubmitResult>> {
        if node != self.inner.cluster.node() {
            let call = submit_call(shard, jobs, metadata_index);
            let answer = self.ask(node, call, left).await;
            return answer.and_then(|answer| results(answer, shard));
        }
        let taking = self.inner.shards.submit(shard, jobs, metadata_index);
        match timeout(left, taking).await {
            Ok(Ok(results)) => Tried::Answered(results),
            Ok(Err(error)) => Tried::failed(error),
            Err(_) => no_answer(node, left),
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
        let followed = self.inner.shards.leader_of(shard);
        followed.or_else(|| self.remembered(shard))
    }

    fn next_node(&self, course: &mut Course) -> Option<NodeId> {
        if self.inner.shards.serves(course.shard) {
            return Some(self.inner.cluster.node());
        }
        let known = Knowledge {
            hint: course.take_hint(),
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

    fn leaders(&self) -> MutexGuard<'_, BTreeMap<ShardId, NodeId>> {
        let leaders = self.inner.leaders.lock();
        leaders.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until it is learnt that another leads, which is said; or for as long as it may take. News of other shards come the
/// same way.
async fn learnt_within<L: PartialEq>(
    news: &mut watch::Receiver<()>,
    longest: Duration,
    leader: impl Fn() -> L,
) -> bool {
    let before = leader();
    let learnt = async {
        while news.changed().await.is_ok() {
            if leader() != before {
                return true;
            }
        }
        // Nobody is left to tell: the time has to pass all the same.
        pending().await
    };
    timeout(longest, learnt).await.unwrap_or(false)
}

fn longest_try(call: &v1::ShardCall) -> Duration {
    match &call.call {
        Some(v1::shard_call::Call::Wait(wait)) => Duration::from_millis(wait.timeout_ms) + TRY,
        Some(_) | None => TRY,
    }
}

fn submit_call(shard: ShardId, jobs: Vec<Submit>, metadata_index: u64) -> v1::ShardCall {
    let submit = v1::ShardSubmit {
        jobs: jobs.into_iter().map(Into::into).collect(),
        metadata_index,
    };
    v1::ShardCall {
        shard_id: shard.get(),
        call: Some(v1::shard_call::Call::Submit(submit)),
    }
}

fn results(answer: v1::ShardAnswer, shard: ShardId) -> Tried<Vec<v1::SubmitResult>> {
    match answer.answer {
        Some(v1::shard_answer::Answer::Submit(submit)) => Tried::Answered(submit.results),
        Some(_) | None => Tried::Refused(odd(shard)),
    }
}

fn no_answer<T>(node: NodeId, left: Duration) -> Tried<T> {
    let message = format!("node {node} gave no answer within {left:?}");
    Tried::Unknown(ApiError::unknown(message))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);

    /// Whether a call went on before its wait was over, after news of which one is of another leader of its shard.
    async fn goes_on(is_of_it: bool) -> bool {
        let (news, leader) = (watch::Sender::new(()), Cell::new(1));
        let mut watched = news.subscribe();
        let told = async {
            sleep(LONGEST / 10).await;
            news.send_replace(());
            sleep(LONGEST / 10).await;
            leader.set(1 + i32::from(is_of_it));
            news.send_replace(());
            sleep(LONGEST / 10).await;
        };
        tokio::select! {
            biased;
            is_learnt = learnt_within(&mut watched, LONGEST, || leader.get()) => is_learnt,
            () = told => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_goes_on_as_soon_as_another_leader_of_its_shard_is_known_and_not_for_other_news() {
        assert!(goes_on(true).await);
        assert!(!goes_on(false).await);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_ends_though_no_leader_is_known() {
        let news = watch::Sender::new(());
        assert!(!learnt_within(&mut news.subscribe(), LONGEST, || 1).await);
    }
}
