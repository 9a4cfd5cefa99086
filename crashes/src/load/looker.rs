//! Looking whether what was promised is there: at some jobs after each crash, at all of them at the end.
//!
//! A list shows headers alone, and payloads and results are rows of their own, which can be lost without them. So jobs
//! are also asked for one by one, and what they show is compared byte for byte.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use leasehold_client::{Client, ClientError, ErrorCode, JobFilter, JobStatus, JobView, StateName};
use leasehold_types::{JobId, QueueName};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::{Common, queue};
use crate::content::{digest_of, is_payload};
use crate::history::{History, Number, Shelf, Sight};
use crate::violation::Violation;

/// Looks that are under way at the same time.
const AT_ONCE: usize = 32;
/// Jobs missing from a list that are asked for one by one; if there are more, the first of these will do.
const ASKED: usize = 4_000;
/// Jobs listed as done whose results are read, drawn at random.
const READ: usize = 4_000;
/// A job that cannot be read is lost when it cannot be so many times: a leader that is just being replaced says so too.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Why not everything could be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    /// The list of all jobs did not come.
    #[error("the jobs could not be listed: {0}")]
    NoList(#[from] ClientError),
    /// Nobody answered for some jobs.
    #[error("of {asked} jobs that were asked for, {unanswered} were not answered for")]
    Unanswered { asked: usize, unanswered: usize },
}

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
    let mut tries = 1;
    loop {
        let had_result = ledger.history().has_result(number);
        let answer = common.client.get(id).await;
        let asked = Asked {
            number,
            id,
            had_result,
        };
        match judge(&mut ledger.history(), asked, &answer) {
            Judged::NoAnswer => return false,
            Judged::Unreadable(_) if tries < TRIES => {}
            Judged::Unreadable(violation) => {
                ledger.check(Err(violation));
                return true;
            }
            Judged::Seen(checked) => {
                ledger.check(checked);
                return true;
            }
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// A job that is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: Number,
    id: JobId,
    /// Whether its result had been acknowledged before.
    had_result: bool,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Seen(Result<(), Violation>),
    /// Nobody answered.
    NoAnswer,
    /// The job is there, and parts of it are not.
    Unreadable(Violation),
}

fn judge(history: &mut History, asked: Asked, answer: &Result<JobView, ClientError>) -> Judged {
    let Asked { number, id, .. } = asked;
    let unreadable = |error: &ClientError| {
        let error = error.to_string();
        Judged::Unreadable(Violation::Unreadable { number, id, error })
    };
    match answer {
        Ok(view) => {
            let seen = history.seen(&sight(number, view), asked.had_result);
            Judged::Seen(seen.and_then(|()| check_bytes(number, view)))
        }
        Err(error) if is_gone(error.code()) => Judged::Seen(history.not_found(number)),
        Err(ClientError::Unavailable { .. } | ClientError::Unknown { .. }) => Judged::NoAnswer,
        Err(
            error @ (ClientError::Refused(_)
            | ClientError::Unreadable(_)
            | ClientError::Setup(_)
            | ClientError::NotEnded { .. }
            | ClientError::NoResult { .. }),
        ) => unreadable(error),
    }
}

/// A job shows its payload until it is done, and its result from then on.
fn check_bytes(number: Number, view: &JobView) -> Result<(), Violation> {
    let (part, is_whole) = match &view.status {
        JobStatus::Done { result, digest, .. } => ("result", digest_of(result) == *digest),
        JobStatus::Cancelled { .. } => return Ok(()),
        JobStatus::Waiting { .. }
        | JobStatus::Ready
        | JobStatus::Leased { .. }
        | JobStatus::Dead { .. } => ("payload", is_payload(number, &view.payload)),
    };
    let id = view.id;
    let other = Violation::OtherBytes { number, id, part };
    is_whole.then_some(()).ok_or(other)
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

/// Lists every job there is and compares all of it with the history. Jobs that are not listed are asked for, and so are
/// many of those that are, for their results.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn sweep(common: &Common, rng: &mut SmallRng) -> Result<(), SweepError> {
    common.ledger.history().look_again();
    for shelf in [Shelf::Kept, Shelf::Brief] {
        sweep_queue(common, &common.client, shelf).await?;
    }
    let mut jobs = common.ledger.history().kept_and_done();
    let (read, _) = jobs.partial_shuffle(rng, READ);
    let mut asked = common.ledger.history().missing();
    asked.truncate(ASKED);
    asked.extend_from_slice(read);
    let count = asked.len();
    let seen = look_at(common, asked).await;
    match count - seen {
        0 => Ok(()),
        unanswered => Err(SweepError::Unanswered {
            asked: count,
            unanswered,
        }),
    }
}

async fn sweep_queue(common: &Common, client: &Client, shelf: Shelf) -> Result<(), ClientError> {
    let mut filter = JobFilter {
        queue: QueueName::new(queue(shelf)).ok(),
        limit: 1_000,
        ..JobFilter::default()
    };
    loop {
        // Where nothing is left to do, no result is acknowledged between the list and the look at it.
        let is_drained = common.is_draining();
        let page = client.page(&filter).await?;
        for view in &page.jobs {
            let seen = seen_in_list(&mut common.ledger.history(), view, is_drained);
            common.ledger.check(seen);
        }
        match page.next {
            Some(after) => filter.after = Some(after),
            None => return Ok(()),
        }
    }
}

/// A list has no payloads: ids and keys say whose job it is.
fn seen_in_list(history: &mut History, view: &JobView, is_drained: bool) -> Result<(), Violation> {
    let by_key = view.key.as_ref().and_then(|key| {
        let number = key.as_str().strip_prefix("submit-")?;
        number.parse().ok()
    });
    match by_key.or_else(|| history.number_of(view.id)) {
        Some(number) => {
            let had_result = is_drained && history.has_result(number);
            history.seen(&sight(number, view), had_result)
        }
        None => Err(Violation::Foreign { id: view.id }),
    }
}

#[cfg(test)]
mod tests;
