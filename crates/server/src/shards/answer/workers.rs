//! Calls that gateways make for their workers.

use leasehold_api::convert::session;
use leasehold_api::convert::workers as convert;
use leasehold_api::convert::writes::{Write, write as to_write, write_answer};
use leasehold_api::{ApiError, v1};
use leasehold_core::shard::Outcome;
use leasehold_core::shard::dispatcher::Offer;
use leasehold_types::{NodeId, ShardEpoch, Timestamp, limits};
use tokio::sync::SemaphorePermit;

use super::{ask, writes};
use crate::shards::mailbox::Event;
use crate::shards::replica::{RESERVE_KIB, Shared};

/// Takes over the slots that a worker's gateway lends.
pub(super) async fn offer(
    shared: &Shared,
    request: v1::WorkerOffer,
) -> Result<v1::WorkerOfferAnswer, ApiError> {
    let (offer, counted_in) = convert::offer(request)?;
    let serving = *shared.serving.borrow();
    let offer = as_counted_in(serving, offer, counted_in);
    let offer = Box::new(offer);
    let taken = ask(shared, |reply| Event::Offer { offer, reply }).await;
    let taken = taken.ok_or_else(|| shared.not_leader())?;
    Ok(v1::WorkerOfferAnswer {
        epoch: taken.epoch.get(),
        granted: taken.granted,
        backlog: taken.backlog,
        refused: !taken.is_taken,
    })
}

/// SUBTLE: grants are counted by leadership. An offer that counts those of another one has seen none of this one: it
/// lends nothing, and is answered with the count to go by.
fn as_counted_in(serving: Option<ShardEpoch>, offer: Offer, counted_in: ShardEpoch) -> Offer {
    if serving == Some(counted_in) {
        return offer;
    }
    Offer {
        free: 0,
        granted_seen: 0,
        ..offer
    }
}

/// Answers renewals. Only the leader does: a gateway that vouched for it would keep leases alive that are gone.
pub(super) async fn renew(
    shared: &Shared,
    request: &v1::WorkerRenew,
) -> Result<v1::RenewResponse, ApiError> {
    let session = session(&request.session)?;
    let renewals = convert::renewals(&request.renewals)?;
    let message = request.message;
    let answers = ask(shared, |reply| Event::Renew {
        session,
        renewals,
        message,
        reply,
    });
    let answers = answers.await.ok_or_else(|| shared.not_leader())?;
    Ok(v1::RenewResponse {
        answers: answers.into_iter().map(v1::RenewalAnswer::from).collect(),
        number: message,
    })
}

pub(super) async fn session_ended(
    shared: &Shared,
    request: &v1::SessionEnded,
) -> Result<v1::SessionEndedAnswer, ApiError> {
    let session = session(&request.session)?;
    let gateway = NodeId::new(request.gateway);
    let event = Event::SessionEnded { session, gateway };
    let sent = shared.mailbox.send(event).await;
    sent.map_err(|_| shared.not_leader())?;
    Ok(v1::SessionEndedAnswer {})
}

/// One write on its way.
enum Item {
    /// Goes to the log.
    Written(Write),
    /// Cannot be read, and is answered already.
    Refused(Box<v1::WriteAnswer>),
}

/// Results, failures and releases, each with its own answer, in order.
pub(super) async fn writes(
    shared: &Shared,
    request: v1::WorkerWrites,
) -> Result<v1::WorkerWritesAnswer, ApiError> {
    if request.writes.len() > limits::ENTRY_COMMANDS {
        return Err(ApiError::invalid(format!(
            "{} writes in one call, at most {} are taken",
            request.writes.len(),
            limits::ENTRY_COMMANDS
        )));
    }
    let _room = reserve(shared, &request.writes).await;
    let mut commands = Vec::with_capacity(request.writes.len());
    let mut items = Vec::with_capacity(request.writes.len());
    for wire in request.writes {
        let named = names(&wire);
        items.push(match to_write(wire) {
            Ok((write, command)) => {
                commands.push(command);
                Item::Written(write)
            }
            Err(error) => Item::Refused(Box::new(refused(named, error.into()))),
        });
    }
    let outcomes = writes::write(shared, commands).await?;
    let stamp = shared.look(|state| state.stamp());
    Ok(v1::WorkerWritesAnswer {
        answers: put_together(items, outcomes, stamp),
    })
}

/// Waits for room; a closed semaphore cannot be, and would only mean that nothing is bounded.
async fn reserve<'a>(
    shared: &'a Shared,
    writes: &[v1::WorkerWrite],
) -> Option<SemaphorePermit<'a>> {
    let kib = writes.iter().map(bytes).sum::<usize>().div_ceil(1024);
    let kib = u32::try_from(kib.min(RESERVE_KIB)).unwrap_or(u32::MAX);
    shared.reserve.acquire_many(kib).await.ok()
}

fn bytes(wire: &v1::WorkerWrite) -> usize {
    use v1::worker_write::Write as Wire;
    let carried = match &wire.write {
        Some(Wire::Complete(write)) => write.result.len(),
        Some(Wire::Fail(write)) => write.message.len() + write.detail.len(),
        Some(Wire::Release(write)) => write.reason.len(),
        None => 0,
    };
    carried + 256
}

fn put_together(
    items: Vec<Item>,
    outcomes: Vec<Outcome>,
    stamp: Timestamp,
) -> Vec<v1::WriteAnswer> {
    let mut outcomes = outcomes.into_iter();
    let answers = items.into_iter().filter_map(|item| match item {
        Item::Written(write) => Some(write_answer(&write, 0, &outcomes.next()?, stamp)),
        Item::Refused(answer) => Some(*answer),
    });
    answers.collect()
}

/// The job and the fence of a write as its sender spelt them.
fn names(wire: &v1::WorkerWrite) -> (String, String) {
    use v1::worker_write::Write as Wire;
    match &wire.write {
        Some(Wire::Complete(write)) => (write.job_id.clone(), write.fence.clone()),
        Some(Wire::Fail(write)) => (write.job_id.clone(), write.fence.clone()),
        Some(Wire::Release(write)) => (write.job_id.clone(), write.fence.clone()),
        None => (String::new(), String::new()),
    }
}

fn refused((job_id, fence): (String, String), error: ApiError) -> v1::WriteAnswer {
    v1::WriteAnswer {
        job_id,
        fence,
        answer: Some(v1::write_answer::Answer::Error(error.into())),
        ..v1::WriteAnswer::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offer_that_counts_another_leadership_s_grants_lends_nothing() {
        let (mine, other) = (ShardEpoch::new(2), ShardEpoch::new(1));
        let wire = v1::WorkerOffer {
            session: leasehold_types::SessionId::from_random(1).to_string(),
            worker: "w1".to_owned(),
            region: "eu".to_owned(),
            queues: vec!["chat".to_owned()],
            free: 3,
            granted_seen: 7,
            epoch: other.get(),
            ..v1::WorkerOffer::default()
        };
        let (offer, counted_in) = convert::offer(wire).unwrap();
        let taken = as_counted_in(Some(mine), offer.clone(), counted_in);
        assert_eq!((taken.free, taken.granted_seen), (0, 0));
        assert_eq!(as_counted_in(Some(other), offer.clone(), counted_in), offer);
    }
}
