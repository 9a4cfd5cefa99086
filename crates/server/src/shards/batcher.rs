//! Gathers commands into log entries and takes the outcomes back to whoever asked. Pure: no clock, no waiting.
//!
//! While no entry is being written, whatever there is goes at once, so that an idle leader answers in a single round trip.
//! While one is, a handful goes as well: the disk goes on with it as soon as it has the first, and does not wait until that
//! was applied and answered. Else commands gather for a moment, so that a busy leader writes few large entries and only as
//! many as fill a round trip. One request may spread over several entries and shares each with other requests; its answer is
//! put together from all of them.
//!
//! What must hold: commands are proposed in the order in which they came (an entry that has to wait for a majority may
//! be overtaken in the log, and the dispatcher and the state take either order); a request of which any part was
//! proposed is never answered as not done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use leasehold_core::shard::{Command, Outcome};
use leasehold_types::{Timestamp, limits};
use tokio::sync::oneshot;

/// Entries under way at once: enough to fill a round trip across the world, few enough to gather well.
pub(super) const FLIGHTS: usize = 8;

/// Commands that are worth an entry of their own while another is being written.
const HANDFUL: usize = 8;

/// Longest that a command waits for company while entries are being written.
pub(super) const GATHER: Duration = Duration::from_millis(2);

/// Bytes that a command takes beside what it carries.
const COMMAND_OVERHEAD: usize = 192;

/// Why a write has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteError {
    /// Certainly not done: this node does not lead any more.
    NotLeader,
    /// Certainly not done: no majority answers.
    NoQuorum,
    /// It may be done.
    Unknown,
}

/// The outcomes of a request's commands, in their order.
pub(super) type Written = Result<Vec<Outcome>, WriteError>;

/// Where a command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The leader itself.
    Leader,
    /// The command at this position of a request.
    Request {
        /// Which request.
        number: u64,
        /// Which of its commands.
        position: usize,
    },
}

/// Commands for one log entry, and where each came from.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) commands: Vec<Command>,
    pub(super) origins: Vec<Origin>,
    pub(super) bytes: usize,
}

struct Queued {
    command: Command,
    bytes: usize,
    origin: Origin,
    since: Timestamp,
}

struct Pending {
    reply: oneshot::Sender<Written>,
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
    proposed: bool,
}

/// Commands that wait for their entry, and requests that wait for their outcomes.
#[derive(Default)]
pub(super) struct Batcher {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

impl Batcher {
    /// Takes a request in. `checked` holds a refusal in place of each command that shall not be proposed at all.
    pub(super) fn push(
        &mut self,
        checked: Vec<Result<Command, Outcome>>,
        reply: oneshot::Sender<Written>,
        now: Timestamp,
    ) {
        let number = self.next;
        self.next += 1;
        let mut outcomes = Vec::with_capacity(checked.len());
        for (position, item) in checked.into_iter().enumerate() {
            match item {
                Ok(command) => {
                    self.enqueue(command, Origin::Request { number, position }, now);
                    outcomes.push(None);
                }
                Err(refused) => outcomes.push(Some(refused)),
            }
        }
        let missing = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        let pending = Pending {
            reply,
            outcomes,
            missing,
            proposed: false,
        };
        self.pending.insert(number, pending);
        self.answer_if_complete(number);
    }

    /// Takes in a command of the leader's own, behind what waits already.
    pub(super) fn push_own(&mut self, command: Command, now: Timestamp) {
        self.enqueue(command, Origin::Leader, now);
    }

    fn enqueue(&mut self, command: Command, origin: Origin, since: Timestamp) {
        let bytes = size(&command);
        self.queued_bytes += bytes;
        self.queue.push_back(Queued {
            command,
            bytes,
            origin,
            since,
        });
    }

    /// Commands that wait for their entry.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Since when the oldest command waits.
    pub(super) fn waiting_since(&self) -> Option<Timestamp> {
        self.queue.front().map(|queued| queued.since)
    }

    /// Whether it is time for another entry beside so many that are under way, where the leader has had something of its
    /// own to say since `own_since`.
    pub(super) fn is_due(
        &self,
        under_way: usize,
        own_since: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let since = [self.waiting_since(), own_since].into_iter().flatten();
        let Some(since) = since.min() else {
            return false;
        };
        match under_way {
            0 => true,
            1 if self.waiting() >= HANDFUL => true,
            FLIGHTS.. => false,
            _ => self.fills_an_entry() || now.since(since) >= GATHER,
        }
    }

    /// Whether what waits fills an entry.
    fn fills_an_entry(&self) -> bool {
        self.queue.len() >= limits::ENTRY_COMMANDS || self.queued_bytes >= limits::ENTRY_BYTES
    }

    /// The next entry's commands: the leader's own first, then what waits, up to the bounds of an entry.
    pub(super) fn gather(&mut self, own: Vec<Command>) -> Gathered {
        let mut gathered = Gathered::default();
        for command in own {
            gathered.add(size(&command), command, Origin::Leader);
        }
        while let Some(next) = self.queue.front() {
            if !gathered.has_room_for(next.bytes) {
                break;
            }
            let Some(next) = self.queue.pop_front() else {
                break;
            };
            self.queued_bytes -= next.bytes;
            self.note_proposed(next.origin);
            gathered.add(next.bytes, next.command, next.origin);
        }
        gathered
    }

    fn note_proposed(&mut self, origin: Origin) {
        if let Origin::Request { number, .. } = origin
            && let Some(pending) = self.pending.get_mut(&number)
        {
            pending.proposed = true;
        }
    }

    /// Takes the outcomes of an entry to the requests they belong to; whose last it is, is answered.
    pub(super) fn settle(&mut self, origins: &[Origin], outcomes: Vec<Outcome>) {
        for (origin, outcome) in origins.iter().zip(outcomes) {
            let Origin::Request { number, position } = *origin else {
                continue;
            };
            let Some(pending) = self.pending.get_mut(&number) else {
                continue;
            };
            if pending.outcomes[position].replace(outcome).is_none() {
                pending.missing -= 1;
            }
            self.answer_if_complete(number);
        }
    }

    /// Answers every request that has a part in an entry which came to nothing.
    pub(super) fn fail(&mut self, origins: &[Origin], error: WriteError) {
        for origin in origins {
            let Origin::Request { number, .. } = *origin else {
                continue;
            };
            let Some(pending) = self.pending.remove(&number) else {
                continue;
            };
            // SUBTLE: other parts of it may be in other entries, so "not done" holds only where this was the only one.
            let only_part = pending.outcomes.len() == 1;
            let error = if only_part {
                error
            } else {
                WriteError::Unknown
            };
            pending.answer(Err(error));
        }
    }

    /// Answers everybody: what was proposed may be done, the rest is certainly not.
    pub(super) fn fail_all(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
        for pending in std::mem::take(&mut self.pending).into_values() {
            let error = match pending.proposed {
                true => WriteError::Unknown,
                false => WriteError::NotLeader,
            };
            pending.answer(Err(error));
        }
    }

    fn answer_if_complete(&mut self, number: u64) {
        if self.pending.get(&number).is_some_and(|p| p.missing == 0)
            && let Some(mut pending) = self.pending.remove(&number)
        {
            let outcomes = std::mem::take(&mut pending.outcomes);
            let outcomes = outcomes.into_iter().flatten().collect();
            pending.answer(Ok(outcomes));
        }
    }
}

impl Pending {
    fn answer(self, written: Written) {
        let _caller_may_be_gone = self.reply.send(written);
    }
}

impl Gathered {
    fn add(&mut self, bytes: usize, command: Command, origin: Origin) {
        self.bytes += bytes;
        self.commands.push(command);
        self.origins.push(origin);
    }

    /// How many more commands of the leader's own fit, which carry nothing.
    pub(super) fn room(&self) -> usize {
        let commands = limits::ENTRY_COMMANDS.saturating_sub(self.commands.len());
        let bytes = limits::ENTRY_BYTES.saturating_sub(self.bytes);
        commands.min(bytes / COMMAND_OVERHEAD)
    }

    /// The leader added commands of its own behind the others; so many are in the entry now.
    pub(super) fn own_to(&mut self, commands: usize) {
        let added = commands.saturating_sub(self.origins.len());
        self.bytes += added * COMMAND_OVERHEAD;
        self.origins.resize(commands, Origin::Leader);
    }

    /// The first command always fits: it was checked when it came in.
    fn has_room_for(&self, bytes: usize) -> bool {
        self.commands.is_empty()
            || (self.commands.len() < limits::ENTRY_COMMANDS
                && self.bytes + bytes <= limits::ENTRY_BYTES)
    }
}

/// What a command takes in the log, about.
fn size(command: &Command) -> usize {
    let carried = match command {
        Command::Submit(submit) => submit.payload.len() + labels(submit),
        Command::Complete(complete) => complete.result.len(),
        Command::Fail(fail) => fail.message.len() + fail.detail.len(),
        Command::Release(release) => release.reason.len(),
        Command::Cancel(cancel) => cancel.reason.len(),
        Command::LeaderStart(_)
        | Command::Grant(_)
        | Command::Contact(_)
        | Command::Expire(_)
        | Command::Redrive(_)
        | Command::Discard(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => 0,
    };
    COMMAND_OVERHEAD + carried
}

fn labels(submit: &leasehold_core::shard::command::Submit) -> usize {
    let labels = submit.requirement.labels.iter();
    let capacity = submit.requirement.capacity.keys();
    let key = submit.key.as_ref().map_or(0, |key| key.as_str().len());
    key + labels
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
        + capacity.map(|name| name.len() + 8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::shard::command::{Cancel, Purge};
    use leasehold_types::{JobId, VirtualShard};

    const NOW: Timestamp = Timestamp::ZERO;
    const PURGED: Outcome = Outcome::Redriven;

    fn cancel(bytes: usize) -> Command {
        Command::Cancel(Cancel {
            job: JobId::new(VirtualShard::new(0), [0; 12]),
            reason: "x".repeat(bytes),
        })
    }

    fn push(batcher: &mut Batcher, commands: Vec<Command>) -> oneshot::Receiver<Written> {
        let (reply, answer) = oneshot::channel();
        batcher.push(commands.into_iter().map(Ok).collect(), reply, NOW);
        answer
    }

    fn outcomes(number: usize) -> Vec<Outcome> {
        (0..number)
            .map(|at| Outcome::Cancelled {
                repeated: at % 2 == 1,
            })
            .collect()
    }

    #[test]
    fn requests_share_an_entry_and_each_gets_its_own_outcomes() {
        let mut batcher = Batcher::default();
        let mut first = push(&mut batcher, vec![cancel(1), cancel(1)]);
        let mut second = push(&mut batcher, vec![cancel(1)]);
        let entry = batcher.gather(vec![Command::Purge(Purge { limit: 1 })]);
        assert_eq!(entry.commands.len(), 4);
        let mut all = vec![PURGED];
        all.extend(outcomes(3));
        batcher.settle(&entry.origins, all);
        assert_eq!(first.try_recv().unwrap(), Ok(outcomes(2)));
        assert_eq!(second.try_recv().unwrap().unwrap().len(), 1);
    }

    #[test]
    fn large_request_spreads_over_entries_and_is_answered_with_the_last() {
        let mut batcher = Batcher::default();
        let half = limits::ENTRY_BYTES / 2;
        let mut answer = push(&mut batcher, vec![cancel(half), cancel(half), cancel(half)]);
        let first = batcher.gather(vec![]);
        assert_eq!(first.commands.len(), 1);
        batcher.settle(&first.origins, outcomes(1));
        assert!(answer.try_recv().is_err());
        while batcher.waiting_since().is_some() {
            let entry = batcher.gather(vec![]);
            batcher.settle(&entry.origins, outcomes(entry.commands.len()));
        }
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 3);
    }

    #[test]
    fn entry_never_exceeds_its_number_of_commands() {
        let mut batcher = Batcher::default();
        let most = limits::ENTRY_COMMANDS;
        let _answer = push(&mut batcher, (0..=most).map(|_| cancel(0)).collect());
        assert!(batcher.fills_an_entry());
        assert_eq!(batcher.gather(vec![]).commands.len(), most);
        assert_eq!(batcher.gather(vec![]).commands.len(), 1);
    }

    #[test]
    fn idle_leader_proposes_at_once_and_a_busy_one_gathers() {
        let mut batcher = Batcher::default();
        assert!(!batcher.is_due(0, None, NOW));
        assert!(batcher.is_due(0, Some(NOW), NOW));
        let _answer = push(&mut batcher, vec![cancel(0)]);
        let due = |batcher: &Batcher, now| [0, 1, 2, FLIGHTS].map(|n| batcher.is_due(n, None, now));
        assert_eq!(due(&batcher, NOW), [true, false, false, false]);
        assert_eq!(due(&batcher, NOW + GATHER), [true, true, true, false]);
        let _others = push(&mut batcher, (1..HANDFUL).map(|_| cancel(0)).collect());
        assert_eq!(due(&batcher, NOW), [true, true, false, false]);
        let most = limits::ENTRY_COMMANDS;
        let _many = push(&mut batcher, (0..most).map(|_| cancel(0)).collect());
        assert_eq!(due(&batcher, NOW), [true, true, true, false]);
    }

    #[test]
    fn lost_leadership_makes_proposed_writes_unknown_and_queued_ones_not_done() {
        let mut batcher = Batcher::default();
        let mut proposed = push(&mut batcher, vec![cancel(0)]);
        let _entry = batcher.gather(vec![]);
        let mut queued = push(&mut batcher, vec![cancel(0)]);
        batcher.fail_all();
        assert_eq!(proposed.try_recv().unwrap(), Err(WriteError::Unknown));
        assert_eq!(queued.try_recv().unwrap(), Err(WriteError::NotLeader));
        assert_eq!(batcher.waiting_since(), None);
    }

    #[test]
    fn part_of_a_request_that_failed_leaves_the_whole_unknown() {
        let mut batcher = Batcher::default();
        let mut two = push(&mut batcher, vec![cancel(0), cancel(0)]);
        let mut one = push(&mut batcher, vec![cancel(0)]);
        let entry = batcher.gather(vec![]);
        batcher.fail(&entry.origins, WriteError::NotLeader);
        assert_eq!(two.try_recv().unwrap(), Err(WriteError::Unknown));
        assert_eq!(one.try_recv().unwrap(), Err(WriteError::NotLeader));
    }

    #[test]
    fn refused_commands_are_answered_in_their_places_without_being_proposed() {
        let mut batcher = Batcher::default();
        let (reply, mut answer) = oneshot::channel();
        let refused = Outcome::Redriven;
        batcher.push(vec![Err(refused.clone()), Ok(cancel(0))], reply, NOW);
        let entry = batcher.gather(vec![]);
        assert_eq!(entry.commands.len(), 1);
        batcher.settle(&entry.origins, outcomes(1));
        let all = answer.try_recv().unwrap().unwrap();
        assert_eq!(all[0], refused);
        let (reply, mut answer) = oneshot::channel();
        batcher.push(vec![Err(refused)], reply, NOW);
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 1);
    }
}
