//! Looking whether what was promised is there: at some jobs after each crash, at all of them at the end.

use futures_util::StreamExt as _;
use futures_util::stream;
use leasehold_client::{Client, ClientError, ErrorCode, JobFilter, JobStatus, JobView, StateName};
use leasehold_types::{JobId, QueueName};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Common, queue};
use crate::content::number_in;
use crate::history::{Number, Shelf, Sight};
use crate::violation::Violation;

/// Looks that are under way at the same time.
const AT_ONCE: usize = 32;
/// Jobs missing from a list that are asked for one by one; if there are more, the first of these will do.
const ASKED: usize = 4_000;

/// Looks at some jobs that were acknowledged, drawn at random. Says how many it saw.
pub(crate) async fn look_at_some(common: &Common, count: u32, rng: &mut SmallRng) -> usize {
    let drawn: Vec<(Number, JobId)> = {
        let history = common.ledger.history();
        let length = history.len().max(1);
        let numbers = (0..count).map(|_| rng.random_range(0..length));
        let promised = numbers.filter(|number| history.is_promised(*number));
        promised
            .filter_map(|number| Some((number, history.id_of(number)?)))
            .collect()
    };
    look_at(common, drawn).await
}

async fn look_at(common: &Common, jobs: Vec<(Number, JobId)>) -> usize {
    let looks = stream::iter(jobs).map(|(number, id)| look(common, number, id));
    let seen = looks
        .buffer_unordered(AT_ONCE)
        .filter(|seen| std::future::ready(*seen));
    seen.count().await
}

/// Looks at one job; false when nobody answered.
async fn look(common: &Common, number: Number, id: JobId) -> bool {
    let ledger = &common.ledger;
    let had_result = ledger.history().has_result(number);
    let checked = match common.client.get(id).await {
        Ok(view) => match number_of(&view, number) {
            Some(found) => ledger.history().seen(&sight(found, &view), had_result),
            None => Err(Violation::Foreign { id }),
        },
        Err(error) if is_gone(error.code()) => ledger.history().not_found(number),
        Err(_) => return false,
    };
    ledger.check(checked);
    true
}

/// Which submit a job is of, by its payload. That is let go of when the job is done: then it is the one that was asked for.
fn number_of(view: &JobView, asked: Number) -> Option<Number> {
    match &view.status {
        JobStatus::Done { .. } | JobStatus::Cancelled { .. } => Some(asked),
        JobStatus::Waiting { .. }
        | JobStatus::Ready
        | JobStatus::Leased { .. }
        | JobStatus::Dead { .. } => number_in(&view.payload),
    }
}

/// Never heard of, or ended and no longer kept.
fn is_gone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::FailedPrecondition)
}

fn sight(number: Number, view: &JobView) -> Sight {
    let (state, result) = match &view.status {
        JobStatus::Done { fence, digest, .. } => (StateName::Done, Some((*fence, *digest))),
        JobStatus::Waiting { .. } => (StateName::Waiting, None),
        JobStatus::Ready => (StateName::Ready, None),
        JobStatus::Leased { .. } => (StateName::Leased, None),
        JobStatus::Cancelled { .. } => (StateName::Cancelled, None),
        JobStatus::Dead { .. } => (StateName::Dead, None),
    };
    Sight {
        number,
        id: view.id,
        state,
        result,
    }
}

/// Lists every job there is and compares all of it with the history; jobs that are not listed are asked for.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn sweep(common: &Common) -> Result<(), ClientError> {
    common.ledger.history().look_again();
    for shelf in [Shelf::Kept, Shelf::Brief] {
        sweep_queue(common, &common.client, shelf).await?;
    }
    let mut missing = common.ledger.history().missing();
    missing.truncate(ASKED);
    let asked = missing.len();
    let seen = look_at(common, missing).await;
    if seen < asked {
        eprintln!(
            "of {asked} jobs that are not listed, {} could not be asked for",
            asked - seen
        );
    }
    Ok(())
}

async fn sweep_queue(common: &Common, client: &Client, shelf: Shelf) -> Result<(), ClientError> {
    let mut filter = JobFilter {
        queue: QueueName::new(queue(shelf)).ok(),
        limit: 1_000,
        ..JobFilter::default()
    };
    loop {
        let page = client.page(&filter).await?;
        for view in &page.jobs {
            common.ledger.check(seen_in_list(common, view));
        }
        match page.next {
            Some(after) => filter.after = Some(after),
            None => return Ok(()),
        }
    }
}

/// A list has no payloads: ids and keys say whose job it is.
fn seen_in_list(common: &Common, view: &JobView) -> Result<(), Violation> {
    let mut history = common.ledger.history();
    let by_key = view.key.as_ref().and_then(|key| {
        let number = key.as_str().strip_prefix("submit-")?;
        number.parse().ok()
    });
    match by_key.or_else(|| history.number_of(view.id)) {
        Some(number) => history.seen(&sight(number, view), false),
        None => Err(Violation::Foreign { id: view.id }),
    }
}
