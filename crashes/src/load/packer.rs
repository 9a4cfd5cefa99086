//! Batches of submits: what is in them, and what became of each.

use std::collections::BTreeMap;

use leasehold_client::{Client, ClientError, ErrorCode, Job, JobHandle};
use leasehold_types::{JobId, VirtualShard};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Common, queue};
use crate::content::{key, payload};
use crate::history::{History, Number, Shelf};
use crate::violation::Violation;

/// A slice of the id space that a route gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) first: u16,
    pub(super) count: u16,
}

impl Slice {
    pub(super) fn mint(self, rng: &mut SmallRng) -> JobId {
        let offset = rng.random_range(0..self.count.max(1));
        let mut random = [0; 12];
        rng.fill(&mut random);
        JobId::new(VirtualShard::new(self.first.saturating_add(offset)), random)
    }
}

/// How one submit is told apart: by the id that it was sent with, or by its key.
#[derive(Debug, Clone, Copy)]
struct Parcel {
    shelf: Shelf,
    id: Option<JobId>,
    before: Before,
}

/// What became of a submit before it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Certainly nothing.
    Nothing,
    /// It may have been taken in.
    Unknown,
    Acknowledged,
}

/// Submits that are on their way together. Repeats are the same, bit for bit.
#[derive(Debug, Default)]
pub(super) struct Batch(BTreeMap<Number, Parcel>);

impl Batch {
    /// Adds a submit: with an id of its own where there is a slice to mint it in, else with a key.
    pub(super) fn add(&mut self, common: &Common, shelf: Shelf, id: Option<JobId>) {
        let number = common.ledger.history().begin(shelf, id);
        let before = Before::Nothing;
        let parcel = Parcel { shelf, id, before };
        self.0.insert(number, parcel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops each submit with a probability: its outcome stays as it is.
    pub(super) fn forget_some(&mut self, probability: f64, rng: &mut SmallRng) {
        self.0.retain(|_, _| !rng.random_bool(probability));
    }

    /// Sends everything once, and keeps what has to be sent again. Says what was acknowledged; sent once more, that has to
    /// find its jobs.
    pub(super) async fn send(&mut self, common: &Common, client: &Client) -> Self {
        let jobs = self.0.iter().map(|(number, parcel)| job(*number, *parcel));
        let results = client.submit_many(jobs.collect()).await;
        let sent = std::mem::take(&mut self.0);
        let mut acknowledged = Self::default();
        for ((number, parcel), result) in sent.into_iter().zip(results) {
            let taken = result.map(|handle| Taken::from(&handle));
            let outcome = outcome(&mut common.ledger.history(), number, parcel.before, taken);
            let (outcome, checked) = outcome;
            common.ledger.check(checked);
            match outcome {
                Outcome::Acknowledged => acknowledged.put(number, parcel, Before::Acknowledged),
                Outcome::Over => {}
                Outcome::Again => self.put(number, parcel, parcel.before.then_unknown()),
            }
        }
        common.ledger.publish();
        acknowledged
    }

    fn put(&mut self, number: Number, parcel: Parcel, before: Before) {
        self.0.insert(number, Parcel { before, ..parcel });
    }
}

impl Before {
    /// Followed by an outcome that is not known.
    const fn then_unknown(self) -> Self {
        match self {
            Self::Nothing | Self::Unknown => Self::Unknown,
            Self::Acknowledged => Self::Acknowledged,
        }
    }
}

fn job(number: Number, parcel: Parcel) -> Job {
    let job = Job::new(queue(parcel.shelf), payload(number));
    match parcel.id {
        Some(id) => job.id(id),
        None => job.key(key(number)),
    }
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
struct Taken {
    id: JobId,
    /// Whether an earlier submit had made the job.
    is_repeated: bool,
}

impl From<&JobHandle> for Taken {
    fn from(handle: &JobHandle) -> Self {
        Self {
            id: handle.id(),
            is_repeated: handle.is_repeated(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Again,
    Over,
}

/// What becomes of a submit, and whether that is as it should be.
fn outcome(
    history: &mut History,
    number: Number,
    before: Before,
    result: Result<Taken, ClientError>,
) -> (Outcome, Result<(), Violation>) {
    let was_acknowledged = before == Before::Acknowledged;
    match result {
        Ok(Taken { id, is_repeated }) if was_acknowledged => {
            let checked = history.repeated(number, id, is_repeated);
            (Outcome::Acknowledged, checked)
        }
        Ok(Taken { id, .. }) => (Outcome::Acknowledged, history.acknowledged(number, id)),
        Err(error) if error.code() == ErrorCode::AlreadyExists => {
            let error = error.to_string();
            let refused = Violation::RepeatRefused { number, error };
            (Outcome::Over, Err(refused))
        }
        Err(error @ ClientError::Refused(_)) if was_acknowledged => {
            let checked = history.repeat_refused(number, &error.to_string());
            (Outcome::Over, checked)
        }
        Err(error) if error.is_certainly_not_done() && before == Before::Nothing => {
            history.refused(number);
            (Outcome::Over, Ok(()))
        }
        Err(_) => (Outcome::Again, Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use leasehold_client::ApiError;

    use super::*;
    use crate::violation::Kind;

    const fn id() -> JobId {
        JobId::new(VirtualShard::new(1), [7; 12])
    }

    fn taken(is_repeated: bool) -> Result<Taken, ClientError> {
        let id = id();
        Ok(Taken { id, is_repeated })
    }

    fn refused(code: ErrorCode) -> Result<Taken, ClientError> {
        Err(ClientError::Refused(ApiError::new(code, "no")))
    }

    fn acknowledged(shelf: Shelf) -> History {
        let mut history = History::default();
        let number = history.begin(shelf, Some(id()));
        let (outcome, checked) = outcome(&mut history, number, Before::Nothing, taken(false));
        assert_eq!((outcome, checked), (Outcome::Acknowledged, Ok(())));
        history
    }

    #[test]
    fn repeat_of_an_acknowledged_submit_finds_the_job_and_makes_none() {
        let mut history = acknowledged(Shelf::Kept);
        let (_, checked) = outcome(&mut history, 0, Before::Acknowledged, taken(true));
        assert_eq!(checked, Ok(()));
        let (_, checked) = outcome(&mut history, 0, Before::Acknowledged, taken(false));
        let violation = checked.unwrap_err();
        assert!(matches!(violation, Violation::MadeAnew { .. }) && violation.kind() == Kind::Lost);
    }

    #[test]
    fn repeat_after_an_unknown_outcome_may_make_the_job() {
        let mut history = History::default();
        history.begin(Shelf::Kept, Some(id()));
        for is_repeated in [false, true] {
            let (_, checked) = outcome(&mut history, 0, Before::Unknown, taken(is_repeated));
            assert_eq!(checked, Ok(()));
        }
    }

    #[test]
    fn repeat_of_a_kept_job_is_not_refused_and_one_that_has_gone_by_right_may_be() {
        for code in [ErrorCode::NotFound, ErrorCode::FailedPrecondition] {
            let mut kept = acknowledged(Shelf::Kept);
            kept.worked(0);
            let (_, checked) = outcome(&mut kept, 0, Before::Acknowledged, refused(code));
            assert!(matches!(checked, Err(Violation::RepeatRefused { .. })));
            let mut brief = acknowledged(Shelf::Brief);
            brief.worked(0);
            let (_, checked) = outcome(&mut brief, 0, Before::Acknowledged, refused(code));
            assert_eq!(checked, Ok(()));
        }
    }

    #[test]
    fn submit_that_was_acknowledged_is_never_taken_for_refused() {
        let mut history = acknowledged(Shelf::Kept);
        let silence = ClientError::Unavailable {
            attempts: 3,
            last: ApiError::unavailable("no leader"),
        };
        let (then, checked) = outcome(&mut history, 0, Before::Acknowledged, Err(silence));
        assert_eq!((then, checked), (Outcome::Again, Ok(())));
        assert_eq!(history.sums().refused, 0);
    }
}
