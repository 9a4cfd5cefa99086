//! Batches of submits: what is in them, and what became of each.

use std::collections::BTreeMap;

use leasehold_client::{Client, ClientError, ErrorCode, Job, JobHandle};
use leasehold_types::{JobId, VirtualShard};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Common, queue};
use crate::content::{key, payload};
use crate::history::{Number, Shelf};
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
    /// Whether an attempt may have been done.
    was_unknown: bool,
}

/// Submits that are on their way together. Repeats are the same, bit for bit.
#[derive(Debug, Default)]
pub(super) struct Batch(BTreeMap<Number, Parcel>);

impl Batch {
    /// Adds a submit: with an id of its own where there is a slice to mint it in, else with a key.
    pub(super) fn add(&mut self, common: &Common, shelf: Shelf, id: Option<JobId>) {
        let number = common.ledger.history().begin(shelf, id);
        let parcel = Parcel {
            shelf,
            id,
            was_unknown: false,
        };
        self.0.insert(number, parcel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops each submit with a probability: its outcome stays as it is.
    pub(super) fn forget_some(&mut self, probability: f64, rng: &mut SmallRng) {
        self.0.retain(|_, _| !rng.random_bool(probability));
    }

    /// Sends everything once, and keeps what has to be sent again. Says what was acknowledged.
    pub(super) async fn send(&mut self, common: &Common, client: &Client) -> Self {
        let jobs = self.0.iter().map(|(number, parcel)| job(*number, *parcel));
        let results = client.submit_many(jobs.collect()).await;
        let sent = std::mem::take(&mut self.0);
        let mut acknowledged = Self::default();
        for ((number, parcel), result) in sent.into_iter().zip(results) {
            match outcome(common, number, parcel, result) {
                Outcome::Acknowledged => drop(acknowledged.0.insert(number, parcel)),
                Outcome::Over => {}
                Outcome::Again => {
                    let was_unknown = true;
                    self.0.insert(
                        number,
                        Parcel {
                            was_unknown,
                            ..parcel
                        },
                    );
                }
            }
        }
        common.ledger.publish();
        acknowledged
    }
}

fn job(number: Number, parcel: Parcel) -> Job {
    let job = Job::new(queue(parcel.shelf), payload(number));
    match parcel.id {
        Some(id) => job.id(id),
        None => job.key(key(number)),
    }
}

enum Outcome {
    Acknowledged,
    Again,
    Over,
}

fn outcome(
    common: &Common,
    number: Number,
    parcel: Parcel,
    result: Result<JobHandle, ClientError>,
) -> Outcome {
    let ledger = &common.ledger;
    match result {
        Ok(handle) => {
            let checked = ledger.history().acknowledged(number, handle.id());
            ledger.check(checked);
            Outcome::Acknowledged
        }
        Err(error) if error.code() == ErrorCode::AlreadyExists => {
            let error = error.to_string();
            ledger.check(Err(Violation::RepeatRefused { number, error }));
            Outcome::Over
        }
        Err(error) if error.is_certainly_not_done() && !parcel.was_unknown => {
            ledger.history().refused(number);
            Outcome::Over
        }
        Err(_) => Outcome::Again,
    }
}
