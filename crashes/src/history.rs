//! What the clients were told, job by job, and what follows from it.
//!
//! This is the whole checker: it knows nothing of the cluster but what its clients sent and heard. Every submit is a
//! number, which the payload carries; every result says under which fence it was sent. Outcomes are *acknowledged*,
//! *certainly not done* or *unknown*, and an unknown one may turn out either way but must then stay so.
//!
//! Pure and small: one record of some hundred bytes a job. A broken promise is a [`Violation`].

use std::collections::BTreeMap;

use leasehold_client::StateName;
use leasehold_types::{Digest, FenceToken, JobId};

use crate::content::{Variant, result_digest};
use crate::violation::Violation;

/// The number of a submit, from 0.
pub(crate) type Number = u32;

/// Which queue a job went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// Its jobs are kept until the end.
    Kept,
    /// Its jobs go a second after they ended: they must not come back, and none that is granted again had a result.
    Brief,
}

/// What is known of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Submit {
    /// It may have been taken in or not.
    Unknown,
    /// It certainly was not.
    Refused,
    /// It was.
    Acknowledged,
}

/// A completion that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) fence: FenceToken,
    pub(crate) variant: Variant,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    shelf: Shelf,
    /// None while nobody said it, which only happens to jobs with keys.
    id: Option<JobId>,
    submit: Submit,
    accepted: Option<Accepted>,
    /// The newest fence that a worker was given.
    granted: Option<FenceToken>,
    /// Whether a worker ever sent a result, whatever became of it.
    was_worked: bool,
    /// Whether one that tells nobody of its acknowledgements did.
    was_worked_quietly: bool,
    /// Whether the last look found it ended.
    was_found: bool,
}

impl Record {
    /// Whether the job has to be there. A brief one may be gone once somebody worked it.
    fn is_promised(&self) -> bool {
        let may_be_gone = self.shelf == Shelf::Brief && self.was_worked;
        let was_told = self.submit == Submit::Acknowledged || self.accepted.is_some();
        was_told && !may_be_gone
    }

    /// A result ends a job for good. So the fence that it was accepted under is the newest one of all, whatever was heard
    /// first.
    fn check_fences(&self, number: Number) -> Result<(), Violation> {
        match (self.accepted, self.granted) {
            (Some(accepted), Some(granted)) if granted > accepted.fence => {
                Err(Violation::GrantedAfterResult {
                    number,
                    id: self.id,
                    accepted,
                    granted,
                })
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}

/// A job as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) number: Number,
    pub(crate) id: JobId,
    pub(crate) state: StateName,
    /// Where it is done: the fence and the digest of the result.
    pub(crate) result: Option<(FenceToken, Digest)>,
}

/// Sums of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) submits: u64,
    pub(crate) completions: u64,
    /// Submits whose outcome stayed unknown.
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
}

/// All submits to one cluster.
#[derive(Debug, Default)]
pub(crate) struct History {
    records: Vec<Record>,
    numbers: BTreeMap<JobId, Number>,
    sums: Sums,
    /// Jobs worked quietly and by nobody else.
    quiet: u64,
}

impl History {
    /// A submit that is about to be sent. The id is left out where the cluster is to mint it.
    pub(crate) fn begin(&mut self, shelf: Shelf, id: Option<JobId>) -> Number {
        let number = Number::try_from(self.records.len()).unwrap_or(Number::MAX);
        self.records.push(Record {
            shelf,
            id,
            submit: Submit::Unknown,
            accepted: None,
            granted: None,
            was_worked: false,
            was_worked_quietly: false,
            was_found: false,
        });
        self.sums.unknown += 1;
        if let Some(id) = id {
            self.numbers.insert(id, number);
        }
        number
    }

    /// The cluster acknowledged a submit, for the first time or again.
    pub(crate) fn acknowledged(&mut self, number: Number, id: JobId) -> Result<(), Violation> {
        self.identify(number, id)?;
        let Some(record) = self.records.get_mut(number as usize) else {
            return Err(Violation::Foreign { id });
        };
        if record.submit != Submit::Acknowledged {
            self.sums.submits += 1;
            self.sums.unknown -= u64::from(record.submit == Submit::Unknown);
            self.sums.refused -= u64::from(record.submit == Submit::Refused);
            record.submit = Submit::Acknowledged;
        }
        Ok(())
    }

    /// A submit that had been acknowledged was sent once more, and acknowledged again: the cluster has to know it.
    pub(crate) fn repeated(
        &mut self,
        number: Number,
        id: JobId,
        is_known: bool,
    ) -> Result<(), Violation> {
        self.acknowledged(number, id)?;
        match is_known {
            true => Ok(()),
            false => Err(Violation::MadeAnew { number, id }),
        }
    }

    /// A submit that had been acknowledged was sent once more, and refused. Only a job that is gone by right may be.
    pub(crate) fn repeat_refused(&self, number: Number, error: &str) -> Result<(), Violation> {
        match self.is_promised(number) {
            false => Ok(()),
            true => Err(Violation::RepeatRefused {
                number,
                error: error.to_owned(),
            }),
        }
    }

    /// A submit was certainly not taken in. Only for one that never had an unknown outcome.
    pub(crate) fn refused(&mut self, number: Number) {
        if let Some(record) = self.records.get_mut(number as usize)
            && record.submit == Submit::Unknown
        {
            record.submit = Submit::Refused;
            self.sums.unknown -= 1;
            self.sums.refused += 1;
        }
    }

    /// One submit has one id, whoever says so.
    pub(crate) fn identify(&mut self, number: Number, id: JobId) -> Result<(), Violation> {
        let Some(record) = self.records.get_mut(number as usize) else {
            return Err(Violation::Foreign { id });
        };
        match record.id {
            Some(known) if known == id => Ok(()),
            Some(known) => Err(Violation::TwoIds {
                number,
                ids: [known, id],
            }),
            None => {
                record.id = Some(id);
                self.numbers.insert(id, number);
                Ok(())
            }
        }
    }

    /// A worker was given a job, under this fence.
    pub(crate) fn granted(
        &mut self,
        number: Number,
        id: JobId,
        fence: FenceToken,
    ) -> Result<(), Violation> {
        let state = StateName::Leased;
        let result = None;
        let sight = Sight {
            number,
            id,
            state,
            result,
        };
        // A grant travels: the job may have been given to somebody else since, and have its result.
        self.seen(&sight, false)?;
        let record = &mut self.records[number as usize];
        record.granted = record.granted.max(Some(fence));
        record.check_fences(number)
    }

    /// A worker is about to send a result.
    pub(crate) fn worked(&mut self, number: Number) {
        if let Some(record) = self.records.get_mut(number as usize) {
            record.was_worked = true;
        }
    }

    /// A worker that keeps its acknowledgements to itself is about to send a result: most likely it will be accepted.
    pub(crate) fn worked_quietly(&mut self, number: Number) {
        self.worked(number);
        if let Some(record) = self.records.get_mut(number as usize)
            && !record.was_worked_quietly
            && record.accepted.is_none()
        {
            record.was_worked_quietly = true;
            self.quiet += 1;
        }
    }

    /// The cluster acknowledged a result.
    pub(crate) fn completed(
        &mut self,
        number: Number,
        accepted: Accepted,
    ) -> Result<(), Violation> {
        let Some(record) = self.records.get_mut(number as usize) else {
            return Ok(());
        };
        match record.accepted {
            Some(known) if known == accepted => Ok(()),
            Some(known) => Err(Violation::TwoResults {
                number,
                id: record.id,
                results: [known, accepted],
            }),
            None => {
                record.accepted = Some(accepted);
                self.sums.completions += 1;
                self.quiet -= u64::from(record.was_worked_quietly);
                record.check_fences(number)
            }
        }
    }

    /// Somebody looked at a job and saw this. A look takes time: what it must show is what was known when it began, so
    /// `had_result` says whether a result had been acknowledged by then.
    pub(crate) fn seen(&mut self, sight: &Sight, had_result: bool) -> Result<(), Violation> {
        self.identify(sight.number, sight.id)?;
        let record = &mut self.records[sight.number as usize];
        record.was_found |= sight.state == StateName::Done;
        check(record, sight, had_result)
    }

    /// A job was asked for by its id, and the cluster knows none.
    pub(crate) fn not_found(&self, number: Number) -> Result<(), Violation> {
        let Some(record) = self.records.get(number as usize) else {
            return Ok(());
        };
        match (record.is_promised(), record.accepted, record.id) {
            (true, Some(accepted), Some(id)) => Err(Violation::LostResult {
                number,
                id,
                accepted,
            }),
            (true, None, Some(id)) => Err(Violation::LostJob { number, id }),
            (false, _, _) | (true, _, None) => Ok(()),
        }
    }

    /// After everything was listed as it ended: the jobs that ought to have been in the list and were not.
    pub(crate) fn missing(&self) -> Vec<(Number, JobId)> {
        let numbered = self.records.iter().enumerate();
        let missing = numbered.filter(|(_, record)| record.is_promised() && !record.was_found);
        missing
            .filter_map(|(number, record)| Some((Number::try_from(number).ok()?, record.id?)))
            .collect()
    }

    /// The jobs that are kept until the end and were listed as done.
    pub(crate) fn kept_and_done(&self) -> Vec<(Number, JobId)> {
        let numbered = self.records.iter().enumerate();
        let done = numbered.filter(|(_, record)| record.shelf == Shelf::Kept && record.was_found);
        done.filter_map(|(number, record)| Some((Number::try_from(number).ok()?, record.id?)))
            .collect()
    }

    /// Looks begin anew.
    pub(crate) fn look_again(&mut self) {
        for record in &mut self.records {
            record.was_found = false;
        }
    }

    /// The id of a submit, where somebody knows it.
    pub(crate) fn id_of(&self, number: Number) -> Option<JobId> {
        self.records.get(number as usize)?.id
    }

    /// Whether a result was acknowledged.
    pub(crate) fn has_result(&self, number: Number) -> bool {
        let record = self.records.get(number as usize);
        record.is_some_and(|record| record.accepted.is_some())
    }

    /// Whether the job of a submit has to be there.
    pub(crate) fn is_promised(&self, number: Number) -> bool {
        let record = self.records.get(number as usize);
        record.is_some_and(Record::is_promised)
    }

    pub(crate) fn number_of(&self, id: JobId) -> Option<Number> {
        self.numbers.get(&id).copied()
    }

    pub(crate) fn len(&self) -> Number {
        Number::try_from(self.records.len()).unwrap_or(Number::MAX)
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }

    /// Acknowledged submits that have no acknowledged result yet, about.
    pub(crate) const fn open(&self) -> u64 {
        let worked = self.sums.completions + self.quiet;
        self.sums.submits.saturating_sub(worked)
    }
}

/// What is seen must agree with what was said.
fn check(record: &Record, sight: &Sight, had_result: bool) -> Result<(), Violation> {
    let Sight {
        number,
        id,
        state,
        result,
    } = sight;
    let (number, id, state) = (*number, *id, *state);
    if record.submit == Submit::Refused {
        return Err(Violation::RefusedYetThere { number, id });
    }
    match (result, record.accepted) {
        (Some((fence, digest)), accepted) => check_result(number, id, (*fence, *digest), accepted),
        (None, Some(accepted)) if had_result => Err(Violation::ResultGone {
            number,
            id,
            accepted,
            state,
        }),
        (None, _) => match state {
            StateName::Dead | StateName::Cancelled => Err(Violation::GivenUp { number, id, state }),
            StateName::Waiting | StateName::Ready | StateName::Leased | StateName::Done => Ok(()),
        },
    }
}

fn check_result(
    number: Number,
    id: JobId,
    (fence, digest): (FenceToken, Digest),
    accepted: Option<Accepted>,
) -> Result<(), Violation> {
    let is_of = |variant| digest == result_digest(number, fence, variant);
    let variant = Variant::ALL.into_iter().find(|variant| is_of(*variant));
    let Some(variant) = variant else {
        return Err(Violation::ForeignResult { number, id, fence });
    };
    let found = Accepted { fence, variant };
    match accepted {
        Some(accepted) if accepted != found => Err(Violation::ResultChanged {
            number,
            id,
            accepted,
            found,
        }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
