//! The whole state, as one message: metadata grows with nodes and queues, not with jobs.

use bytes::Bytes;
use leasehold_core::metadata::{MetadataParts, MetadataState};
use leasehold_types::RecordFormat;

use crate::error::DecodeError;
use crate::field::{In, encoded};
use crate::store::v1;

/// The bytes of a state, for a snapshot.
#[must_use]
pub fn encode_state(state: &MetadataState) -> Bytes {
    encoded(&v1::MetadataSnapshot {
        applied: state.applied(),
        founding: state.founding().map(Into::into),
        format: state.format().get(),
        nodes: state.nodes().map(Into::into).collect(),
        shards: state.shards().map(Into::into).collect(),
        queues: state.queues().map(Into::into).collect(),
    })
}

/// Reads back what [`encode_state`] gave.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or break a rule that every state keeps.
pub fn decode_state(bytes: Bytes) -> Result<MetadataState, DecodeError> {
    let snapshot: v1::MetadataSnapshot = In("MetadataSnapshot").message(bytes)?;
    let parts = MetadataParts {
        applied: snapshot.applied,
        founding: snapshot.founding.map(TryInto::try_into).transpose()?,
        format: RecordFormat::new(snapshot.format),
        nodes: all(snapshot.nodes)?,
        shards: all(snapshot.shards)?,
        queues: all(snapshot.queues)?,
    };
    Ok(MetadataState::from_parts(parts)?)
}

fn all<M, T>(messages: Vec<M>) -> Result<Vec<T>, DecodeError>
where
    T: TryFrom<M, Error = DecodeError>,
{
    messages.into_iter().map(TryInto::try_into).collect()
}
