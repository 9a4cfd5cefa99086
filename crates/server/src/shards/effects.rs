//! What follows from an applied entry beyond the answers: workers to stop, waiters to wake, things to count. Pure.

use std::collections::BTreeMap;

use leasehold_core::shard::command::{Complete, Expire};
use leasehold_core::shard::outcome::{Next, Submitted};
use leasehold_core::shard::{Applied, Batch, Change, Command, Outcome, Refusal, Stale};
use leasehold_types::{FenceToken, JobId, SessionId};

use crate::metrics::{AttemptOutcome, JobEnd, Metrics, SubmitOutcome, WriteKind};

/// What a leader has to do after an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Jobs that reached a terminal state.
    pub(super) finished: Vec<JobId>,
    /// Leases that ended under a worker that does not know it yet.
    pub(super) stops: Vec<Stop>,
    /// Something became grantable, or a slot was freed.
    pub(super) dispatch: bool,
    /// Workers' writes that were refused for their fences in the log itself.
    pub(super) stale: u64,
    /// A job became ready.
    pub(super) ready: bool,
    /// Another leadership has begun: every command of this one is refused from now on.
    pub(super) superseded: bool,
    /// The shard was told a queue's policy.
    pub(super) policies: bool,
}

/// A lease that ended under its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) session: SessionId,
    pub(super) job: JobId,
    pub(super) fence: FenceToken,
    pub(super) why: Stale,
}

/// Reads the effects out of what was proposed and what came of it.
pub(super) fn effects(batch: &Batch, applied: &Applied) -> Effects {
    let mut effects = Effects::default();
    let ended_by_us = ended_by_the_shard(batch, applied);
    for change in &applied.changes {
        match change {
            Change::Leased { .. } => {}
            Change::Finished(job) => effects.finished.push(*job),
            Change::Ready(_) => {
                effects.ready = true;
                effects.dispatch = true;
            }
            Change::LeaseEnded {
                job,
                fence,
                session,
            } => {
                effects.dispatch = true;
                if let Some(why) = ended_by_us.get(job) {
                    effects.stops.push(Stop {
                        session: *session,
                        job: *job,
                        fence: *fence,
                        why: *why,
                    });
                }
            }
        }
    }
    effects.stale = stale(batch, applied);
    effects.superseded = (applied.outcomes.iter()).any(is_of_another_epoch);
    effects.policies = applied.outcomes.contains(&Outcome::PolicyPut);
    effects
}

fn stale(batch: &Batch, applied: &Applied) -> u64 {
    let pairs = batch.commands.iter().zip(&applied.outcomes);
    let stale = pairs.filter(|(command, outcome)| {
        let is_stale = matches!(outcome, Outcome::Refused(Refusal::StaleFence { .. }));
        is_stale && worker_write(command).is_some()
    });
    u64::try_from(stale.count()).unwrap_or(u64::MAX)
}

fn is_of_another_epoch(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Refusal::Epoch { .. }))
}

/// Jobs whose leases were ended by an owner or by the clock, not by their workers: those still have to be told.
fn ended_by_the_shard(batch: &Batch, applied: &Applied) -> BTreeMap<JobId, Stale> {
    let pairs = batch.commands.iter().zip(&applied.outcomes);
    let ended = pairs.filter_map(|(command, outcome)| match (command, outcome) {
        (Command::Cancel(cancel), Outcome::Cancelled { .. }) => {
            Some((cancel.job, Stale::Cancelled))
        }
        (Command::Expire(expire), Outcome::AttemptEnded(_)) => Some((expire.job, Stale::Ended)),
        (_, _) => None,
    });
    ended.collect()
}

/// Counts an entry's outcomes.
pub(super) fn count(metrics: &Metrics, batch: &Batch, applied: &Applied) {
    let mut submits = [0_u64; 3];
    let mut grants = 0;
    for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
        match (command, outcome) {
            (Command::Submit(_), outcome) => submits[submit_kind(outcome)] += 1,
            (Command::Grant(_), Outcome::Granted(_)) => grants += 1,
            (command, Outcome::Refused(Refusal::StaleFence { .. })) => {
                count_stale(metrics, command);
            }
            (command, outcome) => count_end(metrics, command, outcome),
        }
    }
    let [accepted, repeated, refused] = submits;
    metrics.submitted(SubmitOutcome::Accepted, accepted);
    metrics.submitted(SubmitOutcome::Repeated, repeated);
    metrics.submitted(SubmitOutcome::Refused, refused);
    metrics.granted(grants);
}

fn submit_kind(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Submitted(Submitted { repeated, .. }) => usize::from(*repeated),
        Outcome::Led(_)
        | Outcome::Granted(_)
        | Outcome::Contacted
        | Outcome::Completed { .. }
        | Outcome::AttemptEnded(_)
        | Outcome::Cancelled { .. }
        | Outcome::Redriven
        | Outcome::Discarded
        | Outcome::Purged { .. }
        | Outcome::PolicyPut
        | Outcome::Refused(_) => 2,
    }
}

/// Counts a worker's write that its fence made stale, whether it entered the log or not.
pub(super) fn count_stale(metrics: &Metrics, command: &Command) {
    if let Some(kind) = worker_write(command) {
        metrics.stale_write_refused(kind);
    }
}

fn worker_write(command: &Command) -> Option<WriteKind> {
    match command {
        Command::Complete(_) => Some(WriteKind::Complete),
        Command::Fail(_) => Some(WriteKind::Fail),
        Command::Release(_) => Some(WriteKind::Release),
        Command::LeaderStart(_)
        | Command::Submit(_)
        | Command::Grant(_)
        | Command::Contact(_)
        | Command::Expire(_)
        | Command::Cancel(_)
        | Command::Redrive(_)
        | Command::Discard(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => None,
    }
}

fn count_end(metrics: &Metrics, command: &Command, outcome: &Outcome) {
    match (command, outcome) {
        (Command::Complete(Complete { .. }), Outcome::Completed { repeated: false }) => {
            metrics.result_accepted();
            metrics.attempt_ended(AttemptOutcome::Completed);
            metrics.job_ended(JobEnd::Done);
        }
        (Command::Cancel(_), Outcome::Cancelled { repeated: false }) => {
            metrics.job_ended(JobEnd::Cancelled);
        }
        (Command::Fail(_), Outcome::AttemptEnded(next)) => {
            metrics.attempt_ended(AttemptOutcome::Failed);
            count_next(metrics, *next);
        }
        (Command::Release(_), Outcome::AttemptEnded(_)) => {
            metrics.attempt_ended(AttemptOutcome::Released);
        }
        (Command::Expire(Expire { reason, fence, .. }), Outcome::AttemptEnded(next)) => {
            metrics.expired(*reason);
            if fence.is_some() {
                metrics.attempt_ended(AttemptOutcome::Expired);
            }
            count_next(metrics, *next);
        }
        (_, _) => {}
    }
}

fn count_next(metrics: &Metrics, next: Next) {
    match next {
        Next::Dead(class) => metrics.job_ended(JobEnd::Dead(class)),
        Next::Ready | Next::Waiting { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::shard::command::{Cancel, ExpireReason};
    use leasehold_types::VirtualShard;

    fn job(number: u8) -> JobId {
        JobId::new(VirtualShard::new(0), [number; 12])
    }

    fn lease_ended(number: u8) -> Change {
        Change::LeaseEnded {
            job: job(number),
            fence: FenceToken::default(),
            session: SessionId::from_random(1),
        }
    }

    fn complete(number: u8) -> Command {
        Command::Complete(Complete {
            job: job(number),
            fence: FenceToken::default(),
            result: bytes::Bytes::new(),
            digest: leasehold_types::Digest::new([0; 32]),
        })
    }

    #[test]
    fn worker_is_stopped_when_owner_or_clock_ends_its_lease_and_not_when_it_did_itself() {
        let cancel = Command::Cancel(Cancel {
            job: job(1),
            reason: String::new(),
        });
        let expire = Command::Expire(Expire {
            job: job(2),
            fence: Some(FenceToken::default()),
            reason: ExpireReason::Silent,
        });
        let batch = Batch {
            commands: vec![cancel, expire, complete(3)],
            ..Batch::default()
        };
        let applied = Applied {
            outcomes: vec![
                Outcome::Cancelled { repeated: false },
                Outcome::AttemptEnded(Next::Ready),
                Outcome::Completed { repeated: false },
            ],
            changes: vec![lease_ended(1), lease_ended(2), lease_ended(3)],
            ..Applied::default()
        };
        let stops = effects(&batch, &applied).stops;
        let stopped: Vec<_> = stops.iter().map(|stop| (stop.job, stop.why)).collect();
        assert_eq!(
            stopped,
            [(job(1), Stale::Cancelled), (job(2), Stale::Ended)]
        );
    }

    #[test]
    fn refusal_for_another_epoch_ends_the_leadership() {
        let refused = Refusal::Epoch {
            given: leasehold_types::ShardEpoch::new(1),
            current: leasehold_types::ShardEpoch::new(2),
        };
        let batch = Batch {
            commands: vec![complete(1)],
            ..Batch::default()
        };
        let applied = Applied {
            outcomes: vec![Outcome::Refused(refused)],
            ..Applied::default()
        };
        assert!(effects(&batch, &applied).superseded);
        assert!(!effects(&batch, &Applied::default()).superseded);
    }

    #[test]
    fn everything_is_counted_where_it_belongs() {
        let metrics = Metrics::new("0", "eu");
        let batch = Batch {
            commands: vec![complete(1), complete(2)],
            ..Batch::default()
        };
        let stale = Refusal::StaleFence {
            job: job(2),
            given: FenceToken::default(),
            why: Stale::Ended,
        };
        let applied = Applied {
            outcomes: vec![
                Outcome::Completed { repeated: false },
                Outcome::Refused(stale),
            ],
            ..Applied::default()
        };
        count(&metrics, &batch, &applied);
        let text = metrics.encode();
        assert!(
            text.contains("leasehold_results_accepted_total 1"),
            "{text}"
        );
        assert!(
            text.contains("leasehold_stale_writes_refused_total{write=\"complete\"} 1"),
            "{text}"
        );
    }
}
