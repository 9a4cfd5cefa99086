//! Offers of free slots on their way to leaders.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_core::lending::{OfferAnswer, SlotOffer};
use leasehold_types::{ShardEpoch, ShardId};

use super::Inner;
use super::session::Session;

/// Longest that an offer looks for a leader. It is absolute, so the next one makes up for it.
const TTL: Duration = Duration::from_secs(4);

/// What came of an offer.
pub(super) struct Offered {
    shard: ShardId,
    call: u64,
    result: Result<OfferAnswer, ApiError>,
}

impl Inner {
    /// The offers that are to be made now, each as a call under way.
    pub(super) fn offers(
        self: &Arc<Self>,
        session: &Arc<Session>,
    ) -> Vec<impl Future<Output = Offered> + use<>> {
        let now = self.now();
        let offers = session.lending(|lending| lending.poll(&mut self.board(), now));
        let make = |offer| make(Arc::clone(self), Arc::clone(session), offer);
        offers.into_iter().map(make).collect()
    }

    /// Takes note of what came of an offer.
    pub(super) fn settle_offer(&self, session: &Session, offered: Offered) {
        let Offered {
            shard,
            call,
            result,
        } = offered;
        let now = self.now();
        session.lending(|lending| match result {
            Ok(answer) => lending.answered(shard, call, answer, now),
            Err(error) => {
                let certainly_not_done = error.code.has_no_side_effects();
                let draw = self.seam.entropy.next();
                lending.failed(shard, call, certainly_not_done, draw, now);
            }
        });
    }
}

async fn make(inner: Arc<Inner>, session: Arc<Session>, offer: SlotOffer) -> Offered {
    let shard = offer.shard;
    let wire = v1::WorkerOffer {
        free: offer.free,
        message: offer.message,
        granted_seen: offer.granted_seen,
        epoch: offer.epoch.get(),
        number: offer.call,
        ..session.offer()
    };
    let call = v1::ShardCall {
        shard_id: shard.get(),
        call: Some(Call::Offer(wire)),
    };
    inner.metrics.slots_offered();
    let answer = inner.leaders.call(shard, call, TTL).await;
    Offered {
        shard,
        call: offer.call,
        result: answer.and_then(read),
    }
}

fn read(answer: v1::ShardAnswer) -> Result<OfferAnswer, ApiError> {
    match answer.answer {
        Some(Answer::Offer(answer)) => Ok(OfferAnswer {
            epoch: ShardEpoch::new(answer.epoch),
            granted: answer.granted,
            backlog: answer.backlog,
            is_refused: answer.refused,
        }),
        other => Err(super::renewals::unexpected("an offer", other)),
    }
}
