//! The stored parts of a shard's state, to be encoded and to be put together again.
//!
//! Parts are read and given one by one, so that no copy of a large shard is made on the way.

use std::sync::Arc;

use leasehold_types::{Incarnation, JobId, QueueName, ShardEpoch, Timestamp};

use super::table::Places;
use super::{Owner, PlacedPolicy, RUN, Remembered, Rows, ShardState};
use crate::shard::job::Job;

/// The few numbers that are the shard's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardHead {
    /// First field of every fence; rises only on a forced recovery or a restore.
    pub incarnation: Incarnation,
    /// The current leadership.
    pub epoch: ShardEpoch,
    /// Who leads.
    pub owner: Option<Owner>,
    /// The shard clock.
    pub stamp: Timestamp,
    /// Leases granted in this epoch: the sequence of the newest fence.
    pub granted: u64,
    /// Jobs ever taken in: the sequence of the next one.
    pub arrivals: u64,
}

/// What is stored of one arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A job, and the rows of its own that the checkpoint has.
    Held(Box<Job>, Rows),
    /// What is remembered of a job that was purged.
    Gone(Arc<Remembered>),
}

impl Kept {
    /// Its place in the order of arrival.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Held(job, _) => job.header.sequence,
            Self::Gone(entry) => entry.sequence,
        }
    }
}

/// What is stored of a run of arrivals, of [`RUN`] of them at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptRun {
    /// How many packs of attempts it has.
    pub packs: u32,
    /// What is kept of it, in the order of arrival.
    pub kept: Vec<Kept>,
}

impl KeptRun {
    /// The place of an arrival in it that is not of the run with this number.
    #[must_use]
    pub fn stray(&self, number: u64) -> Option<u64> {
        let mut sequences = self.kept.iter().map(Kept::sequence);
        sequences.find(|sequence| sequence / RUN != number)
    }
}

/// Why parts do not make a shard: what was stored is damaged, or was not written by this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// A job's queue has no policy.
    #[error("job {job} is of queue {queue}, which has no policy among the parts")]
    UnknownQueue {
        /// The job.
        job: JobId,
        /// Its queue.
        queue: QueueName,
    },
    /// A job is given twice, or is both held and remembered.
    #[error("job {0} is among the parts twice")]
    Repeated(JobId),
    /// What was kept of an arrival comes after what was kept of a later one, or of the same.
    #[error("job {job} has sequence {sequence}, which does not come after the one before it")]
    Order {
        /// The job.
        job: JobId,
        /// Its place.
        sequence: u64,
    },
    /// A job's place in the order of arrival is after the end of it.
    #[error("job {job} has sequence {sequence}, which is not below {arrivals} arrivals")]
    Sequence {
        /// The job.
        job: JobId,
        /// Its place.
        sequence: u64,
        /// How many jobs ever arrived.
        arrivals: u64,
    },
}

impl ShardState {
    /// The shard's own numbers.
    #[must_use]
    pub const fn head(&self) -> ShardHead {
        self.head
    }

    /// The policies, in the order of queue names.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = (&QueueName, &PlacedPolicy)> {
        self.queues.placed()
    }

    /// The jobs, in the order of their arrival.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// Puts a state together again and derives everything that is not stored. Runs are given in the order of arrival.
    ///
    /// # Errors
    /// [`PartsError`] when the parts contradict each other.
    pub fn from_parts(
        head: ShardHead,
        policies: impl IntoIterator<Item = (QueueName, PlacedPolicy)>,
        runs: impl IntoIterator<Item = KeptRun>,
    ) -> Result<Self, PartsError> {
        let mut state = Self::empty(head);
        for (queue, placed) in policies {
            state.queues.put(&queue, placed);
        }
        let mut places = Places::default();
        for run in runs {
            state.restore_run(run, &mut places)?;
        }
        match state.jobs.set_places(places) {
            Some(repeated) => Err(PartsError::Repeated(repeated)),
            None => Ok(state),
        }
    }

    fn restore_run(&mut self, run: KeptRun, places: &mut Places) -> Result<(), PartsError> {
        let last = run.kept.last().map(Kept::sequence);
        for entry in run.kept {
            match entry {
                Kept::Held(job, rows) => self.restore(*job, rows, places)?,
                Kept::Gone(entry) => self.restore_memory(entry, places)?,
            }
        }
        if let Some(last) = last {
            self.jobs.set_packs(last, run.packs);
        }
        Ok(())
    }

    fn restore(&mut self, mut job: Job, rows: Rows, places: &mut Places) -> Result<(), PartsError> {
        self.check_arrival(job.header.id, job.header.sequence, places)?;
        if self.queues.policy(&job.header.queue).is_none() {
            let (job, queue) = (job.header.id, job.header.queue);
            return Err(PartsError::UnknownQueue { job, queue });
        }
        self.share_words(&mut job.header);
        let pool = self.enter_indexes(&job.header);
        self.jobs.restore(job, pool, rows, places);
        Ok(())
    }

    fn restore_memory(
        &mut self,
        entry: Arc<Remembered>,
        places: &mut Places,
    ) -> Result<(), PartsError> {
        self.check_arrival(entry.job, entry.sequence, places)?;
        self.keys.remember(&entry);
        self.jobs.restore_memory(entry, places);
        Ok(())
    }

    /// A second entry at one place would take the first one's, which would be lost without a word.
    fn check_arrival(
        &self,
        job: JobId,
        sequence: u64,
        places: &mut Places,
    ) -> Result<(), PartsError> {
        let arrivals = self.head.arrivals;
        if sequence >= arrivals {
            return Err(PartsError::Sequence {
                job,
                sequence,
                arrivals,
            });
        }
        match places.follows(sequence) {
            true => Ok(()),
            false => Err(PartsError::Order { job, sequence }),
        }
    }

    /// This state put together from its own parts.
    #[cfg(test)]
    pub(in crate::shard) fn rebuilt(&self) -> Self {
        let policies = self.policies().map(|(q, p)| (q.clone(), p.clone()));
        let runs = self.jobs.entries().map(|entry| KeptRun {
            kept: vec![entry.kept()],
            ..KeptRun::default()
        });
        let mut rebuilt =
            Self::from_parts(self.head, policies, runs).expect("the parts of a state make a state");
        rebuilt.bounds = self.bounds;
        rebuilt
    }

    /// Whether everything derived is what it would be if derived anew.
    #[cfg(test)]
    pub(in crate::shard) fn indexes_are_true(&self) -> bool {
        let rebuilt = self.rebuilt();
        self.index.agrees_with(&rebuilt.index)
            && self.queues.agrees_with(&rebuilt.queues)
            && self.keys.agrees_with(&rebuilt.keys)
            && self.jobs.bytes() == rebuilt.jobs.bytes()
            && *self == rebuilt
    }

    /// The state with other bounds.
    #[cfg(test)]
    pub(in crate::shard) fn with_bounds(mut self, change: impl FnOnce(&mut super::Bounds)) -> Self {
        change(&mut self.bounds);
        self
    }
}
