//! Renewals on their way to the leaders that alone may answer them.
//!
//! A message's renewals go out at once, one call for each shard, and each shard's answer comes back by itself: a shard
//! without a leader must not hold up the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use leasehold_api::convert::{self, workers};
use leasehold_api::v1::gateway_message::Body;
use leasehold_api::v1::renewal_answer::Answer as RenewalAnswer;
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_types::{SessionId, ShardId};

use super::session::Session;
use super::{Inner, WorkerSessions};

/// Longest that a renewal looks for a leader: the next one is under way by then.
const TTL: Duration = Duration::from_secs(4);

/// The renewals of one message that one shard has to answer; none: no shard has the jobs.
type Parts = BTreeMap<Option<ShardId>, Vec<v1::Renewal>>;

impl WorkerSessions {
    /// Renews leases by a call of their own. The answers are the leaders'.
    ///
    /// # Errors
    /// When the request cannot be read. Renewals that no leader could be asked about are answered `later`.
    pub async fn renew(&self, request: v1::RenewRequest) -> Result<v1::RenewResponse, ApiError> {
        let id = convert::session(&request.session)?;
        let message = self.inner.registry.get(id).map_or(0, |session| {
            let now = self.inner.now();
            session.change(|lending| {
                lending.heard(0, now);
                lending.message()
            })
        });
        let parts = self.inner.by_shard(request.renewals)?;
        let asked = parts
            .into_iter()
            .map(|(shard, renewals)| self.inner.ask_to_renew(shard, id, renewals, message));
        Ok(v1::RenewResponse {
            answers: join_all(asked).await.into_iter().flatten().collect(),
            number: 0,
        })
    }
}

impl Inner {
    /// Sends a message's renewals to their leaders; the answers go to the worker as they come.
    ///
    /// # Errors
    /// When a renewal cannot be read.
    pub(super) fn forward_renewals(
        self: &Arc<Self>,
        session: &Arc<Session>,
        number: u64,
        renewals: Vec<v1::Renewal>,
    ) -> Result<(), ApiError> {
        if renewals.is_empty() {
            session.send(renewed(Vec::new(), number));
        }
        for (shard, renewals) in self.by_shard(renewals)? {
            self.forward(session, number, shard, renewals);
        }
        Ok(())
    }

    fn forward(
        self: &Arc<Self>,
        session: &Arc<Session>,
        number: u64,
        shard: Option<ShardId>,
        renewals: Vec<v1::Renewal>,
    ) {
        let Ok(permit) = Arc::clone(&session.renewals).try_acquire_owned() else {
            let busy = ApiError::unavailable("earlier renewals are still under way: ask again");
            return session.send(renewed(later(&renewals, &busy), number));
        };
        let (inner, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move {
            let answers = inner
                .ask_to_renew(shard, session.id, renewals, number)
                .await;
            session.send(renewed(answers, number));
            drop(permit);
        });
    }

    fn by_shard(&self, renewals: Vec<v1::Renewal>) -> Result<Parts, ApiError> {
        let read = workers::renewals(&renewals)?;
        let mut parts = Parts::new();
        for (renewal, read) in renewals.into_iter().zip(read) {
            let shard = self.shard_of(read.job);
            parts.entry(shard).or_default().push(renewal);
        }
        Ok(parts)
    }

    async fn ask_to_renew(
        &self,
        shard: Option<ShardId>,
        session: SessionId,
        renewals: Vec<v1::Renewal>,
        message: u64,
    ) -> Vec<v1::RenewalAnswer> {
        let Some(shard) = shard else {
            let unknown = ApiError::unavailable("no shard has this job, as far as this node knows");
            return later(&renewals, &unknown);
        };
        let renew = v1::WorkerRenew {
            session: session.to_string(),
            renewals: renewals.clone(),
            message,
            held_ms: 0,
        };
        let call = v1::ShardCall {
            shard_id: shard.get(),
            call: Some(Call::Renew(renew)),
        };
        match self.leaders.call(shard, call, TTL).await {
            Ok(v1::ShardAnswer {
                answer: Some(Answer::Renew(renewed)),
            }) => renewed.answers,
            Ok(other) => later(&renewals, &unexpected("renewals", other.answer)),
            Err(error) => later(&renewals, &error),
        }
    }
}

fn renewed(answers: Vec<v1::RenewalAnswer>, number: u64) -> Body {
    Body::Renewed(v1::RenewResponse { answers, number })
}

/// No leader could be asked: the worker minds its own deadline and asks again.
fn later(renewals: &[v1::Renewal], why: &ApiError) -> Vec<v1::RenewalAnswer> {
    let answer = |renewal: &v1::Renewal| v1::RenewalAnswer {
        job_id: renewal.job_id.clone(),
        fence: renewal.fence.clone(),
        answer: Some(RenewalAnswer::Later(why.clone().into())),
    };
    renewals.iter().map(answer).collect()
}

/// A leader answered something else than it was asked.
pub(super) fn unexpected(asked: &str, answer: Option<Answer>) -> ApiError {
    match answer {
        Some(Answer::Error(error)) => error.into(),
        Some(_) | None => ApiError::internal(format!(
            "a leader answered {asked} with something else: is it of another version?"
        )),
    }
}
