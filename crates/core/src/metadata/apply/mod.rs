//! How each command changes the state: one file a subject, every refusal before the first change.

mod founding;
mod node;
mod queue;
mod shard;

use super::command::MetadataCommand;
use super::outcome::{MetadataOutcome, MetadataRefusal};
use super::records::Founding;
use super::state::MetadataState;

type Applied = Result<MetadataOutcome, MetadataRefusal>;

impl MetadataState {
    /// Applies one entry of the log. A refusal is an outcome like any other; nothing panics, whatever the command.
    ///
    /// `index` is the entry's own and rises from call to call: it names new nodes and policies. An entry that was
    /// applied before is refused, so that a replay after a restart cannot use an id twice.
    pub fn apply(&mut self, index: u64, command: &MetadataCommand) -> MetadataOutcome {
        let (applied, given) = (self.applied, index);
        if given <= applied {
            let why = format!("entry {given} was applied before: the state is at {applied}");
            return MetadataOutcome::Refused(MetadataRefusal::Invalid(why));
        }
        self.applied = index;
        self.change(index, command)
            .unwrap_or_else(MetadataOutcome::Refused)
    }

    fn change(&mut self, index: u64, command: &MetadataCommand) -> Applied {
        match command {
            MetadataCommand::Found(found) => self.found(found),
            MetadataCommand::AddNode(join) => self.add_node(index, join),
            MetadataCommand::NodeStarted(start) => self.node_started(start),
            MetadataCommand::CreateShard(create) => self.create_shard(index, create),
            MetadataCommand::IntendMembers(intend) => self.intend_members(index, intend),
            MetadataCommand::CreateQueue(create) => self.create_queue(index, create),
            MetadataCommand::SetQueue(set) => self.set_queue(index, set),
        }
    }

    fn founded(&self) -> Result<&Founding, MetadataRefusal> {
        self.founding().ok_or(MetadataRefusal::NotFounded)
    }
}

fn full(what: &'static str, limit: usize) -> MetadataRefusal {
    MetadataRefusal::Full { what, limit }
}

/// Refuses a record that was changed since the proposer read it.
fn unchanged(what: String, current: u64, base: u64) -> Result<(), MetadataRefusal> {
    if current == base {
        return Ok(());
    }
    Err(MetadataRefusal::Conflict {
        what,
        current,
        base,
    })
}
