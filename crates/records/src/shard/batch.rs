//! One batch a log entry: the hot path of the whole system.

use bytes::Bytes;
use leasehold_core::shard::{Batch, Command};
use leasehold_types::{ShardEpoch, Timestamp};
use prost::Message;

use crate::error::DecodeError;
use crate::field::{In, encoded};
use crate::store::v1::{self, shard_command::Kind};

const COMMAND: In = In("ShardCommand");

/// The bytes of a batch, as the log keeps them. Payloads are copied once, into the one buffer of exact length.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Bytes {
    let command = |command: &Command| v1::ShardCommand {
        kind: Some(command.into()),
    };
    encoded(&v1::ShardBatch {
        epoch: batch.epoch.get(),
        stamp_us: batch.stamp.as_micros(),
        seed: batch.seed,
        commands: batch.commands.iter().map(command).collect(),
    })
}

/// Reads back what [`encode_batch`] gave. Payloads are slices of `bytes`, and keep all of them in memory.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_batch(bytes: Bytes) -> Result<Batch, DecodeError> {
    let batch: v1::ShardBatch = In("ShardBatch").message(bytes.clone())?;
    let mut commands = Vec::with_capacity(batch.commands.len());
    for (position, command) in batch.commands.into_iter().enumerate() {
        match command.kind {
            Some(kind) => commands.push(kind.try_into()?),
            None => return Err(unknown_command(bytes, position)),
        }
    }
    Ok(Batch {
        epoch: ShardEpoch::new(batch.epoch),
        stamp: Timestamp::from_micros(batch.stamp_us),
        seed: batch.seed,
        commands,
    })
}

/// A batch whose commands stay bytes.
#[derive(Clone, PartialEq, Message)]
struct UnreadBatch {
    #[prost(bytes = "bytes", repeated, tag = "4")]
    commands: Vec<Bytes>,
}

/// Names the command's kind: its bytes are looked up again, since protobuf has skipped what it did not know.
fn unknown_command(bytes: Bytes, position: usize) -> DecodeError {
    let unread = UnreadBatch::decode(bytes).unwrap_or_default();
    let command = unread.commands.into_iter().nth(position);
    COMMAND.unknown_kind(command.unwrap_or_default())
}

impl From<&Command> for Kind {
    fn from(command: &Command) -> Self {
        match command {
            Command::LeaderStart(start) => Self::LeaderStart(start.into()),
            Command::Submit(submit) => Self::Submit(submit.as_ref().into()),
            Command::Grant(grant) => Self::Grant(grant.as_ref().into()),
            Command::Contact(contact) => Self::Contact(contact.into()),
            Command::Complete(complete) => Self::Complete(complete.into()),
            Command::Fail(fail) => Self::Fail(fail.as_ref().into()),
            Command::Expire(expire) => Self::Expire(expire.into()),
            Command::Release(release) => Self::Release(release.into()),
            Command::Cancel(cancel) => Self::Cancel(cancel.into()),
            Command::Redrive(redrive) => Self::Redrive(redrive.into()),
            Command::Discard(discard) => Self::Discard(discard.into()),
            Command::Purge(purge) => Self::Purge(purge.into()),
            Command::PutPolicy(put) => Self::PutPolicy(put.as_ref().into()),
        }
    }
}

impl TryFrom<Kind> for Command {
    type Error = DecodeError;

    fn try_from(kind: Kind) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::LeaderStart(start) => Self::LeaderStart(start.into()),
            Kind::Submit(submit) => Self::Submit(Box::new(submit.try_into()?)),
            Kind::Grant(grant) => Self::Grant(Box::new(grant.try_into()?)),
            Kind::Contact(contact) => Self::Contact(contact.try_into()?),
            Kind::Complete(complete) => Self::Complete(complete.try_into()?),
            Kind::Fail(fail) => Self::Fail(Box::new(fail.try_into()?)),
            Kind::Expire(expire) => Self::Expire(expire.try_into()?),
            Kind::Release(release) => Self::Release(release.try_into()?),
            Kind::Cancel(cancel) => Self::Cancel(cancel.try_into()?),
            Kind::Redrive(redrive) => Self::Redrive(redrive.try_into()?),
            Kind::Discard(discard) => Self::Discard(discard.try_into()?),
            Kind::Purge(purge) => Self::Purge(purge.into()),
            Kind::PutPolicy(put) => Self::PutPolicy(Box::new(put.try_into()?)),
        })
    }
}
