//! How each command changes the shard: one file a transition, and the order in which a batch is gone through.
//!
//! Every transition first checks everything and only then changes anything, so that a refusal leaves no trace.

mod attempt;
mod cancel;
mod complete;
mod contact;
mod discard;
mod expire;
mod fail;
mod grant;
mod leader_start;
mod purge;
mod put_policy;
mod redrive;
mod release;
mod submit;

use leasehold_types::JobId;

use super::command::{Batch, Command};
use super::outcome::{Applied, Change, Outcome, Refusal};
use super::state::ShardState;

/// A batch being applied.
struct Applying<'a> {
    state: &'a mut ShardState,
    seed: u64,
    changes: Vec<Change>,
}

impl ShardState {
    /// Applies one log entry. Deterministic: what comes of it depends on the stored state and the batch alone.
    ///
    /// A batch of another epoch than the current one changes nothing, not even the clock: the clock of a deposed
    /// leader also ran while the shard had none, which must not count against anybody's lease.
    pub fn apply(&mut self, batch: &Batch) -> Applied {
        let mut applying = Applying {
            state: self,
            seed: batch.seed,
            changes: Vec::new(),
        };
        applying.advance(batch);
        let commands = batch.commands.iter();
        let outcomes = commands.map(|c| applying.step(batch, c)).collect();
        let changes = applying.changes;
        Applied {
            stamp: self.head.stamp,
            outcomes,
            changes,
        }
    }
}

impl Applying<'_> {
    fn advance(&mut self, batch: &Batch) {
        if batch.epoch == self.state.head.epoch {
            self.state.head.stamp = self.state.head.stamp.max(batch.stamp);
            self.state.wake_due(&mut self.changes);
        }
    }

    fn step(&mut self, batch: &Batch, command: &Command) -> Outcome {
        self.try_step(batch, command)
            .unwrap_or_else(Outcome::Refused)
    }

    fn try_step(&mut self, batch: &Batch, command: &Command) -> Result<Outcome, Refusal> {
        self.check_epoch(batch)?;
        if let Some(job) = subject(command) {
            self.state.jobs.aim_at(job);
        }
        match command {
            Command::LeaderStart(command) => self.leader_start(command),
            Command::Submit(command) => self.submit(command),
            Command::Grant(command) => self.grant(command),
            Command::Contact(command) => self.contact(command),
            Command::Complete(command) => self.complete(command),
            Command::Fail(command) => self.fail(command),
            Command::Expire(command) => self.expire(command),
            Command::Release(command) => self.release(command),
            Command::Cancel(command) => self.cancel(command),
            Command::Redrive(command) => self.redrive(command),
            Command::Discard(command) => self.discard(command),
            Command::Purge(command) => Ok(self.purge(command)),
            Command::PutPolicy(command) => self.put_policy(command),
        }
    }

    fn check_epoch(&self, batch: &Batch) -> Result<(), Refusal> {
        let (given, current) = (batch.epoch, self.state.head.epoch);
        if given == current {
            return Ok(());
        }
        Err(Refusal::Epoch { given, current })
    }
}

/// The job that is there already and that a command is about.
fn subject(command: &Command) -> Option<JobId> {
    match command {
        Command::Grant(command) => Some(command.job),
        Command::Contact(command) => Some(command.job),
        Command::Complete(command) => Some(command.job),
        Command::Fail(command) => Some(command.job),
        Command::Expire(command) => Some(command.job),
        Command::Release(command) => Some(command.job),
        Command::Cancel(command) => Some(command.job),
        Command::Redrive(command) => Some(command.job),
        Command::Discard(command) => Some(command.job),
        Command::LeaderStart(_)
        | Command::Submit(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => None,
    }
}

/// The beginning of a text, at most so many bytes long and never cut inside a character.
fn cut(text: &str, most: usize) -> &str {
    let most = most.min(text.len());
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}
