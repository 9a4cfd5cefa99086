//! Answers calls to a shard: from wire to event, and from outcome to wire.
//!
//! A call's answer is definite for all its items or the call as a whole has none. That is so because whoever repeats
//! a call repeats all of it, and because every item may be repeated.

mod reads;
mod submit;
mod workers;
mod writes;

use std::sync::Arc;

use leasehold_api::v1;
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, ConvertError};

use super::mailbox::Event;
use super::replica::Shared;

/// An answer that says why there is none.
pub(super) fn failed(error: ApiError) -> v1::ShardAnswer {
    v1::ShardAnswer {
        answer: Some(Answer::Error(error.into())),
    }
}

pub(super) use submit::take_in;

/// Answers one call, if this node leads and serves the shard.
pub(super) async fn answer(shared: &Arc<Shared>, call: v1::ShardCall) -> v1::ShardAnswer {
    match answered(shared, call).await {
        Ok(answer) => v1::ShardAnswer {
            answer: Some(answer),
        },
        Err(error) => failed(error),
    }
}

async fn answered(shared: &Arc<Shared>, call: v1::ShardCall) -> Result<Answer, ApiError> {
    check_serving(shared)?;
    let call = call.call.ok_or(ConvertError::Missing { field: "call" })?;
    Ok(match call {
        Call::Submit(submit) => Answer::Submit(submit::submit(shared, submit).await?),
        Call::Cancel(cancel) => Answer::Cancel(writes::cancel(shared, cancel).await?),
        Call::Redrive(redrive) => Answer::Redrive(writes::redrive(shared, &redrive).await?),
        Call::Discard(discard) => Answer::Discard(writes::discard(shared, &discard).await?),
        Call::Get(get) => Answer::Get(reads::get(shared, &get).await?),
        Call::Wait(wait) => Answer::Wait(reads::wait(shared, &wait).await?),
        Call::List(list) => Answer::List(reads::list(shared, &list).await?),
        Call::Status(_) => Answer::Status(reads::status(shared).await?),
        Call::Offer(offer) => Answer::Offer(workers::offer(shared, offer).await?),
        Call::Renew(renew) => Answer::Renew(workers::renew(shared, &renew).await?),
        Call::Writes(writes) => Answer::Writes(workers::writes(shared, writes).await?),
        Call::SessionEnded(ended) => {
            Answer::SessionEnded(workers::session_ended(shared, &ended).await?)
        }
    })
}

/// Whether this node leads the shard and serves it.
pub(super) fn check_serving(shared: &Shared) -> Result<(), ApiError> {
    if shared.serving.borrow().is_some() {
        return Ok(());
    }
    Err(shared.not_leader())
}

/// Puts an event before the leader's task and waits for its answer. None means that the task ended first.
async fn ask<R>(
    shared: &Shared,
    event: impl FnOnce(tokio::sync::oneshot::Sender<R>) -> Event,
) -> Option<R> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    shared.mailbox.send(event(reply)).await.ok()?;
    answer.await.ok()
}
