//! Which operations a log takes: one set of rules for every store.

use std::io;

use bytes::Bytes;
use leasehold_types::GroupId;

use super::Operation;

/// Most bytes that one operation may carry. It is written and synced as one, and kept or cut as one.
pub const OPERATION_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why an operation was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "append to {group} at index {given} leaves a gap or overlaps: the next index is {next}"
    )]
    OutOfPlace {
        group: GroupId,
        next: u64,
        given: u64,
    },
    #[error("append to {group} at index {given}: indexes below {first} were purged")]
    Purged {
        group: GroupId,
        first: u64,
        given: u64,
    },
    #[error("append to {group} has index {given} where {expected} was expected")]
    NotConsecutive {
        group: GroupId,
        expected: u64,
        given: u64,
    },
    #[error("index {given} of {group} is the last number there is")]
    NoNextIndex { group: GroupId, given: u64 },
    #[error(
        "operation on {group} has {bytes} bytes, at most {OPERATION_BYTES_MAX} are taken as one"
    )]
    TooLarge { group: GroupId, bytes: usize },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refusal)
    }
}

/// What each entry, mark or value takes beside its content, in bytes; a little more than it does on the disk.
const RECORD_COST: usize = 32;

/// Bytes that an operation takes.
pub(crate) fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Append { entries, .. } => {
            let sizes = entries.iter().map(|(_, bytes)| bytes.len() + RECORD_COST);
            sizes.fold(0, usize::saturating_add)
        }
        Operation::Truncate { .. } => RECORD_COST,
        Operation::Purge { mark, .. } => mark.len() + RECORD_COST,
        Operation::Put { value, .. } => value.len() + RECORD_COST,
    }
}

/// Checks what can be said of an operation without looking at the log.
pub(crate) fn check_alone(operation: &Operation) -> Result<(), Refusal> {
    let (group, bytes) = (operation.group(), size(operation));
    if bytes > OPERATION_BYTES_MAX {
        return Err(Refusal::TooLarge { group, bytes });
    }
    match operation {
        Operation::Append { entries, .. } => check_consecutive(group, entries),
        Operation::Truncate { after, .. } => check_has_next(group, after.unwrap_or(0)),
        Operation::Purge { upto, .. } => check_has_next(group, *upto),
        Operation::Put { .. } => Ok(()),
    }
}

fn check_has_next(group: GroupId, given: u64) -> Result<(), Refusal> {
    if given == u64::MAX {
        return Err(Refusal::NoNextIndex { group, given });
    }
    Ok(())
}

fn check_consecutive(group: GroupId, entries: &[(u64, Bytes)]) -> Result<(), Refusal> {
    let first = entries.first().map_or(0, |(first, _)| *first);
    for (at, &(given, _)) in entries.iter().enumerate() {
        check_has_next(group, given)?;
        let expected = first.saturating_add(at as u64);
        if given != expected {
            return Err(Refusal::NotConsecutive {
                group,
                expected,
                given,
            });
        }
    }
    Ok(())
}

/// Checks the place of an append against the log: `next` is the index after the last entry, or the first index not
/// purged where there is no entry.
pub(crate) fn check_place(
    group: GroupId,
    given: u64,
    next: u64,
    is_empty: bool,
) -> Result<(), Refusal> {
    match given == next || (is_empty && given > next) {
        true => Ok(()),
        false if is_empty => Err(Refusal::Purged {
            group,
            first: next,
            given,
        }),
        false => Err(Refusal::OutOfPlace { group, next, given }),
    }
}
