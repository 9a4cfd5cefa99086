//! What a checkpoint keeps of a run of arrivals, in one row.
//!
//! Queues, tenants and requirements stand in a run once and are named by their places: a shard of a million jobs is
//! read in a second or so, and most of that was making words. A [`Reader`] goes further and makes each word once for
//! all runs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::job::{Job, JobBody, JobHeader, JobState, Length, Recent, Stored};
use leasehold_core::shard::state::{Bundle, Kept, KeptRun, Remembered, Rows};
use leasehold_types::{QueueName, TenantName};

use crate::error::DecodeError;
use crate::field::{In, digest, encoded, fence, job, stamp, text_if_any};
use crate::store::v1::{self, kept::Kind};

const RUN: In = In("JobRun");
const JOB: In = In("KeptJob");
const REMEMBERED: In = In("Remembered");

/// The bytes of a run.
#[must_use]
pub fn encode_run(packs: u32, kept: impl IntoIterator<Item = Kept>) -> Bytes {
    let mut run = v1::JobRun {
        packs,
        ..v1::JobRun::default()
    };
    for entry in kept {
        let kind = match &entry {
            Kept::Held(job, rows) => Kind::Job(job_record(job, *rows, &mut run)),
            Kept::Gone(entry) => Kind::Remembered(remembered_record(entry, &mut run)),
        };
        run.kept.push(v1::Kept { kind: Some(kind) });
    }
    encoded(&run)
}

fn job_record(kept: &Job, rows: Rows, run: &mut v1::JobRun) -> v1::KeptJob {
    let (header, stored) = (&kept.header, kept.stored());
    v1::KeptJob {
        id: job(header.id),
        queue: name_place(header.queue.as_str(), run),
        tenant: name_place(header.tenant.as_str(), run),
        key: text_if_any(header.key.as_ref()),
        digest: digest(header.digest),
        priority: header.priority.into(),
        requirement: requirement_place(&header.requirement, run),
        sequence: header.sequence,
        submitted_at_us: header.submitted_at.as_micros(),
        expires_at_us: header.expires_at.as_micros(),
        tries: Some((&header.tries).into()),
        last_fence: header.last_fence.and_then(fence),
        history: kept.body().attempts.iter().map(Into::into).collect(),
        payload_bytes: stored.payload.map(Length::get),
        payload_bundle: rows.payload.map_or(0, Bundle::place),
        result_bytes: stored.result.map(Length::get),
        result_bundle: rows.result.map_or(0, Bundle::place),
        attempts_bytes: stored.attempts.map(Length::get),
        attempts_upto: rows.attempts,
        recent: header.recent.as_deref().map(Into::into),
        state: Some((&header.state).into()),
    }
}

fn remembered_record(entry: &Remembered, run: &mut v1::JobRun) -> v1::Remembered {
    v1::Remembered {
        job: job(entry.job),
        queue: name_place(entry.queue.as_str(), run),
        tenant: name_place(entry.tenant.as_str(), run),
        key: text_if_any(entry.key.as_ref()),
        digest: digest(entry.digest),
        forget_at_us: entry.forget_at.as_micros(),
        sequence: entry.sequence,
    }
}

/// A run has at most two names for each of its few arrivals, and mostly two in all: looking through them is quick.
fn name_place(name: &str, run: &mut v1::JobRun) -> u32 {
    let found = run.names.iter().position(|known| known == name);
    place(found.unwrap_or_else(|| {
        run.names.push(name.to_owned());
        run.names.len() - 1
    }))
}

fn requirement_place(requirement: &Requirement, run: &mut v1::JobRun) -> u32 {
    let record = v1::Requirement::from(requirement);
    let found = run.requirements.iter().position(|known| *known == record);
    place(found.unwrap_or_else(|| {
        run.requirements.push(record);
        run.requirements.len() - 1
    }))
}

fn place(position: usize) -> u32 {
    u32::try_from(position).expect("a run has a few arrivals")
}

/// Reads runs, and makes each word once for all of them.
#[derive(Debug, Default)]
pub struct Reader {
    queues: BTreeMap<String, QueueName>,
    tenants: BTreeMap<String, TenantName>,
    /// The requirement that was read last: mostly it is the next one too.
    requirement: Option<(v1::Requirement, Arc<Requirement>)>,
}

impl Reader {
    /// Reads back what [`encode_run`] gave.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are damaged, or a newer version's.
    pub fn read(&mut self, bytes: Bytes) -> Result<KeptRun, DecodeError> {
        let v1::JobRun {
            names,
            requirements,
            kept,
            packs,
        } = RUN.message(bytes)?;
        let requirements = requirements.into_iter().map(|r| self.requirement(r));
        let words = Words {
            names,
            requirements: requirements.collect::<Result<_, _>>()?,
        };
        let kept = kept.into_iter().map(|entry| self.kept(entry, &words));
        let kept = kept.collect::<Result<_, _>>()?;
        Ok(KeptRun { packs, kept })
    }

    fn kept(&mut self, entry: v1::Kept, words: &Words) -> Result<Kept, DecodeError> {
        match RUN.required("kept", entry.kind)? {
            Kind::Job(record) => self.job(record, words),
            Kind::Remembered(record) => {
                let read = self.remembered(&record, words)?;
                Ok(Kept::Gone(Arc::new(read)))
            }
        }
    }

    fn job(&mut self, mut record: v1::KeptJob, words: &Words) -> Result<Kept, DecodeError> {
        let (stored, rows) = (stored(&record), rows(&record)?);
        let history = std::mem::take(&mut record.history).into_iter();
        let attempts = history.map(TryInto::try_into);
        let body = JobBody {
            attempts: attempts.collect::<Result<_, _>>()?,
            ..JobBody::default()
        };
        let mut header = self.header(record, words)?;
        if header.recent.is_none() && !header.state.is_terminal() {
            header.recent = Recent::after(&body.attempts).map(Box::new);
        }
        Ok(Kept::Held(Box::new(Job::new(header, body, stored)), rows))
    }

    fn header(&mut self, record: v1::KeptJob, words: &Words) -> Result<JobHeader, DecodeError> {
        let recent = record.recent.map(Recent::try_from).transpose()?;
        Ok(JobHeader {
            id: JOB.job("id", &record.id)?,
            queue: self.queue(JOB, record.queue, words)?,
            tenant: self.tenant(JOB, record.tenant, words)?,
            key: JOB.name_if_any("key", record.key.as_deref())?,
            digest: JOB.digest("digest", &record.digest)?,
            priority: JOB.narrow("priority", record.priority)?,
            requirement: words.requirement(record.requirement)?,
            sequence: record.sequence,
            submitted_at: stamp(record.submitted_at_us),
            expires_at: stamp(record.expires_at_us),
            state: JOB.nested::<_, JobState>("state", record.state)?,
            tries: JOB.required("tries", record.tries)?.into(),
            last_fence: record.last_fence.map(TryInto::try_into).transpose()?,
            recent: recent.map(Box::new),
        })
    }

    fn remembered(
        &mut self,
        record: &v1::Remembered,
        words: &Words,
    ) -> Result<Remembered, DecodeError> {
        Ok(Remembered {
            job: REMEMBERED.job("job", &record.job)?,
            sequence: record.sequence,
            queue: self.queue(REMEMBERED, record.queue, words)?,
            tenant: self.tenant(REMEMBERED, record.tenant, words)?,
            key: REMEMBERED.name_if_any("key", record.key.as_deref())?,
            digest: REMEMBERED.digest("digest", &record.digest)?,
            forget_at: stamp(record.forget_at_us),
        })
    }

    fn queue(&mut self, at: In, place: u32, words: &Words) -> Result<QueueName, DecodeError> {
        shared(
            &mut self.queues,
            at,
            "queue",
            words.name(at, "queue", place)?,
        )
    }

    fn tenant(&mut self, at: In, place: u32, words: &Words) -> Result<TenantName, DecodeError> {
        shared(
            &mut self.tenants,
            at,
            "tenant",
            words.name(at, "tenant", place)?,
        )
    }

    fn requirement(&mut self, record: v1::Requirement) -> Result<Arc<Requirement>, DecodeError> {
        if let Some((_, known)) = self.requirement.as_ref().filter(|(r, _)| *r == record) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(Requirement::try_from(record.clone())?);
        self.requirement = Some((record, Arc::clone(&read)));
        Ok(read)
    }
}

fn stored(record: &v1::KeptJob) -> Stored {
    Stored {
        payload: record.payload_bytes.map(length),
        result: record.result_bytes.map(length),
        attempts: record.attempts_bytes.map(length),
    }
}

/// A bundle is named only for what is stored: the first of a run has the number that an absent field has.
fn rows(record: &v1::KeptJob) -> Result<Rows, DecodeError> {
    let bundle = |field, stored: Option<u32>, place| match (stored, Bundle::at(place)) {
        (None, _) => Ok(None),
        (Some(_), Some(bundle)) => Ok(Some(bundle)),
        (Some(_), None) => Err(JOB.invalid(field, &format_args!("a run has no place {place}"))),
    };
    let (payload, result) = (record.payload_bytes, record.result_bytes);
    Ok(Rows {
        payload: bundle("payload_bundle", payload, record.payload_bundle)?,
        result: bundle("result_bundle", result, record.result_bundle)?,
        attempts: record.attempts_upto,
    })
}

fn length(bytes: u32) -> Length {
    Length::new(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The words of one run.
struct Words {
    names: Vec<String>,
    requirements: Vec<Arc<Requirement>>,
}

impl Words {
    fn name(&self, at: In, field: &'static str, place: u32) -> Result<&str, DecodeError> {
        let name = self.names.get(usize::try_from(place).unwrap_or(usize::MAX));
        let why = format_args!("name {place} of {}", self.names.len());
        name.map(String::as_str)
            .ok_or_else(|| at.invalid(field, &why))
    }

    fn requirement(&self, place: u32) -> Result<Arc<Requirement>, DecodeError> {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let found = self.requirements.get(place).map(Arc::clone);
        let why = format_args!("requirement {place} of {}", self.requirements.len());
        found.ok_or_else(|| JOB.invalid("requirement", &why))
    }
}

fn shared<T>(
    known: &mut BTreeMap<String, T>,
    at: In,
    field: &'static str,
    name: &str,
) -> Result<T, DecodeError>
where
    T: FromStr<Err: Display> + Clone,
{
    if let Some(found) = known.get(name) {
        return Ok(found.clone());
    }
    let made: T = at.name(field, name)?;
    known.insert(name.to_owned(), made.clone());
    Ok(made)
}
