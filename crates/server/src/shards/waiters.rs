//! Who waits for which job to end.
//!
//! A waiter signs up before it looks at the job, so that an end between the two is never missed. The set is shared
//! between those who wait and the leader's task; it is closed when leadership ends, and everybody in it is told to
//! ask elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use leasehold_types::JobId;
use tokio::sync::oneshot;

/// Waiters by job. Clones share the set.
#[derive(Clone, Default)]
pub(super) struct Waiters {
    jobs: Arc<Mutex<BTreeMap<JobId, Vec<oneshot::Sender<()>>>>>,
}

impl Waiters {
    /// Signs up for a job's end. The receiver gets a word when the job ends, an error when leadership does.
    pub(super) fn sign_up(&self, job: JobId) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let mut jobs = self.lock();
        let waiting = jobs.entry(job).or_default();
        waiting.retain(|earlier| !earlier.is_closed());
        waiting.push(tell);
        told
    }

    /// The job has ended.
    pub(super) fn ended(&self, job: JobId) {
        let waiting = self.lock().remove(&job);
        for tell in waiting.into_iter().flatten() {
            let _may_have_left = tell.send(());
        }
    }

    /// Takes those off who have left: called by a waiter that gives up.
    pub(super) fn forget_the_gone(&self, job: JobId) {
        let mut jobs = self.lock();
        let Some(waiting) = jobs.get_mut(&job) else {
            return;
        };
        waiting.retain(|tell| !tell.is_closed());
        if waiting.is_empty() {
            jobs.remove(&job);
        }
    }

    /// Sends everybody away: this node leads no more.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Vec<oneshot::Sender<()>>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::VirtualShard;

    fn job(number: u8) -> JobId {
        JobId::new(VirtualShard::new(0), [number; 12])
    }

    #[test]
    fn every_waiter_of_a_job_is_told_and_no_other() {
        let waiters = Waiters::default();
        let mut first = waiters.sign_up(job(1));
        let mut second = waiters.sign_up(job(1));
        let mut other = waiters.sign_up(job(2));
        waiters.ended(job(1));
        assert_eq!(first.try_recv(), Ok(()));
        assert_eq!(second.try_recv(), Ok(()));
        assert!(matches!(
            other.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        ));
    }

    #[test]
    fn waiters_are_sent_away_when_leadership_ends() {
        let waiters = Waiters::default();
        let mut waiting = waiters.sign_up(job(1));
        waiters.close();
        assert!(matches!(
            waiting.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }

    #[test]
    fn those_who_left_take_no_room() {
        let waiters = Waiters::default();
        drop(waiters.sign_up(job(1)));
        waiters.forget_the_gone(job(1));
        assert!(waiters.lock().is_empty());
    }
}
