//! Payloads, or results, of neighbouring jobs in one row.

use bytes::Bytes;
use leasehold_core::shard::state::{FrozenBundle, RUN};

use crate::error::DecodeError;
use crate::field::{In, encoded};
use crate::store::v1;

const PART: In = In("BundledPart");

/// The bytes of a bundle.
#[must_use]
pub fn encode_bundle(bundle: &FrozenBundle<'_>) -> Bytes {
    let parts = bundle.parts.iter().map(|(job, part)| v1::BundledPart {
        place: place(*job),
        part: Bytes::clone(part),
    });
    encoded(&v1::PartBundle {
        parts: parts.collect(),
    })
}

/// Reads back what [`encode_bundle`] gave, each part with its job's place in the order of arrival, which is in the run
/// of the bundle's first. The parts share the memory of the bytes.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, or a newer version's.
pub fn decode_bundle(bytes: Bytes, first: u64) -> Result<Vec<(u64, Bytes)>, DecodeError> {
    let bundle: v1::PartBundle = In("PartBundle").message(bytes)?;
    let mut parts = Vec::with_capacity(bundle.parts.len());
    let mut from = place(first);
    for part in bundle.parts {
        let place = part.place;
        if !(from..RUN_PLACES).contains(&place) {
            let why = format_args!("{place} is not from {from} on and below {RUN_PLACES}");
            return Err(PART.invalid("place", &why));
        }
        from = place + 1;
        parts.push((first - first % RUN + u64::from(place), part.part));
    }
    Ok(parts)
}

#[expect(clippy::cast_possible_truncation, reason = "a run has a few places")]
const RUN_PLACES: u32 = RUN as u32;

fn place(job: u64) -> u32 {
    u32::try_from(job % RUN).expect("a run has a few places")
}
