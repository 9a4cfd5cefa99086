//! A lease runs out, or a job's own deadline passes.
//!
//! A job whose deadline passed is dead under the class of its newest failure, since that is what kept it from ending
//! in time; one that never failed is `transient`: nothing speaks against trying again.

use super::Applying;
use super::attempt::{attempts, last_class};
use crate::retry::Fault;
use crate::shard::command::{Expire, ExpireReason, FailureClass};
use crate::shard::job::{AttemptEnd, Job, JobState};
use crate::shard::outcome::{Next, Outcome, Refusal};

impl ExpireReason {
    /// Who is to blame: what the expiry of a lease counts as. None for the job's own deadline.
    #[must_use]
    pub const fn class(self) -> Option<FailureClass> {
        match self {
            Self::Silent | Self::Stalled | Self::AttemptLimit => Some(FailureClass::Lost),
            Self::Verdict => Some(FailureClass::Infrastructure),
            Self::Deadline => None,
        }
    }

    /// What happened, in a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Silent => "worker not heard for the length of its lease",
            Self::Stalled => "worker renewed without progress for the stall limit",
            Self::AttemptLimit => "attempt ran longer than its queue allows",
            Self::Verdict => "worker not heard and its region unreachable by verdict",
            Self::Deadline => "job deadline passed",
        }
    }
}

impl Applying<'_> {
    pub(super) fn expire(&mut self, expire: &Expire) -> Result<Outcome, Refusal> {
        match expire.fence {
            Some(fence) => {
                self.state.held(expire.job, fence)?;
            }
            None => self.check_unleased(expire)?,
        }
        let fault = match expire.reason {
            ExpireReason::Silent | ExpireReason::Stalled | ExpireReason::AttemptLimit => {
                Fault::LeaseLost
            }
            ExpireReason::Verdict => Fault::RegionLost,
            ExpireReason::Deadline => return self.end_by_deadline(expire),
        };
        let end = AttemptEnd::Expired(expire.reason);
        Ok(self.end_by_fault(expire.job, fault, end))
    }

    /// Without a fence, only the deadline of a job that nobody has can be meant.
    fn check_unleased(&self, expire: &Expire) -> Result<(), Refusal> {
        let header = &self.state.known(expire.job)?.header;
        let wrong = |wanted| Refusal::WrongState {
            job: expire.job,
            state: header.state.name(),
            wanted,
        };
        match (&header.state, expire.reason) {
            (JobState::Waiting { .. } | JobState::Ready, ExpireReason::Deadline) => Ok(()),
            (
                JobState::Waiting { .. } | JobState::Ready,
                ExpireReason::Silent
                | ExpireReason::Stalled
                | ExpireReason::AttemptLimit
                | ExpireReason::Verdict,
            ) => Err(wrong("only a lease can run out this way")),
            (JobState::Leased(_), _) => Err(wrong("name the fence of the lease to end")),
            (JobState::Done(_) | JobState::Cancelled { .. } | JobState::Dead { .. }, _) => {
                Err(wrong("it has ended"))
            }
        }
    }

    fn end_by_deadline(&mut self, expire: &Expire) -> Result<Outcome, Refusal> {
        let job = self.state.known(expire.job)?;
        if job.header.expires_at > self.state.head.stamp {
            return Err(Refusal::WrongState {
                job: expire.job,
                state: job.header.state.name(),
                wanted: "its deadline has not passed",
            });
        }
        let class = last_class(&job.header).unwrap_or(FailureClass::Transient);
        let dead = self.dead(class, &reason(job));
        self.record(expire.job, AttemptEnd::Expired(ExpireReason::Deadline));
        self.state.restate(expire.job, dead, &mut self.changes);
        Ok(Outcome::AttemptEnded(Next::Dead(class)))
    }
}

fn reason(job: &Job) -> String {
    let header = &job.header;
    let allowed = header.expires_at.since(header.submitted_at);
    let (state, attempts) = (header.state.name(), attempts(header));
    format!("deadline of {allowed:?} passed while the job was {state}, after {attempts}")
}
