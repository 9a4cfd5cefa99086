//! Takes in what leaders send: jobs, leases that ended, news of work.

use std::collections::BTreeSet;
use std::sync::Arc;

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body;
use leasehold_api::v1::renewal_answer::Answer;
use leasehold_types::{QueueName, SessionId, ShardEpoch, ShardId};

use super::session::{Handed, Kind, Session};
use super::writes::{Reply, Sent};
use super::{Inner, WorkerSessions};

/// Why a grant goes back; shown in the job's history.
const NO_SLOT: &str = "its worker had no free slot left, or had gone";

impl WorkerSessions {
    /// Hands jobs and stops from a shard's leader to the sessions here. Sessions that are not here are named in the
    /// answer, so that the leader releases their grants.
    pub async fn deliver(&self, delivery: v1::Delivery) -> v1::DeliveryAnswer {
        let shard = ShardId::new(delivery.shard_id);
        let epoch = ShardEpoch::new(delivery.epoch);
        self.inner.take_news(shard, delivery.backlog);
        for stop in delivery.stops {
            self.inner.stop(stop);
        }
        let mut unknown = BTreeSet::new();
        for granted in delivery.assignments {
            let session = granted.session.clone();
            if self.inner.hand_over(shard, epoch, granted) == Handed::Unknown {
                unknown.insert(session);
            }
        }
        v1::DeliveryAnswer {
            unknown_sessions: unknown.into_iter().collect(),
        }
    }
}

impl Inner {
    fn hand_over(
        &self,
        shard: ShardId,
        epoch: ShardEpoch,
        granted: v1::SessionAssignment,
    ) -> Handed {
        let session = self.session_named(&granted.session);
        let (Some(session), Some(assignment)) = (session, granted.assignment) else {
            return Handed::Unknown;
        };
        let named = v1::Assignment {
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
            ..v1::Assignment::default()
        };
        let handed = session.hand_over((shard, epoch), granted.grant, assignment, self.now());
        if handed == Handed::Back {
            self.hand_back(&named);
        }
        handed
    }

    /// Gives a job back that was granted to a worker here and did not reach it.
    pub(super) fn hand_back(&self, assignment: &v1::Assignment) {
        self.metrics.grant_returned();
        let release = v1::ReleaseRequest {
            session: String::new(),
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
            reason: NO_SLOT.to_owned(),
        };
        self.send_write(Sent::undelivered(release), Reply::Nobody);
    }

    /// The lease is over: said as the answer to a renewal that was never asked for. Without a stream the worker hears
    /// of it with its next renewal.
    fn stop(&self, stop: v1::LeaseStop) {
        let session = self.session_named(&stop.session);
        let Some(session) = session.filter(|session| session.kind == Kind::Stream) else {
            return;
        };
        let answer = v1::RenewalAnswer {
            job_id: stop.job_id,
            fence: stop.fence,
            answer: Some(Answer::Stop(stop.why.unwrap_or_default())),
        };
        session.send(Body::Renewed(v1::RenewResponse {
            answers: vec![answer],
            number: 0,
        }));
    }

    fn take_news(&self, shard: ShardId, backlog: std::collections::BTreeMap<String, u64>) {
        let known = backlog.into_iter();
        let news: Vec<(QueueName, u64)> = known
            .filter_map(|(queue, ready)| Some((queue.parse().ok()?, ready)))
            .collect();
        if news.is_empty() {
            return;
        }
        let (now, mut board) = (self.now(), self.board());
        for (queue, ready) in &news {
            board.news(shard, queue.clone(), *ready, now);
        }
        drop(board);
        let queues: Vec<QueueName> = news.into_iter().map(|(queue, _)| queue).collect();
        self.wake_for(&queues);
    }

    /// A name that cannot be read is of no session here.
    pub(super) fn session_named(&self, name: &str) -> Option<Arc<Session>> {
        self.registry.get(name.parse::<SessionId>().ok()?)
    }
}
