//! Whatever bytes are given, a decoder answers: never with a panic, and never with a value that it would not read
//! again from its own writing.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_core::shard::command::Purge;
use leasehold_core::shard::job::AttemptRecord;
use leasehold_core::shard::state::{FrozenBundle, Kept, KeptRun, PlacedPolicy, ShardHead};
use leasehold_core::shard::{Batch, Command, Outcome, ShardState};
use leasehold_records::{DecodeError, metadata, shard};
use leasehold_types::{QueueName, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::values;

/// One change to a run of bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        4 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        2 => any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
    ];
    vec(one, 1..4)
}

fn damaged(bytes: &Bytes, damage: &[Damage]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match one {
            Damage::Flip(at, mask) => bytes[at.index(length)] ^= mask,
            Damage::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Remove(at) => {
                bytes.remove(at.index(length));
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes.into()
}

/// Reads the bytes. What can be read must be read the same from its own writing.
fn answers<T: PartialEq + Debug>(
    bytes: Bytes,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Bytes,
) {
    if let Ok(value) = decode(bytes) {
        assert_eq!(decode(encode(&value)), Ok(value));
    }
}

fn bundle(parts: &[(u64, Bytes)]) -> Bytes {
    let parts = parts.iter().map(|(job, part)| (*job, part));
    shard::encode_bundle(&FrozenBundle {
        first: 0,
        parts: parts.collect(),
    })
}

fn all_answer(bytes: &Bytes) {
    answers(bytes.clone(), shard::decode_batch, shard::encode_batch);
    let read_run = |bytes| shard::Reader::default().read(bytes);
    let write_run = |run: &KeptRun| shard::encode_run(run.packs, run.kept.clone());
    answers(bytes.clone(), read_run, write_run);
    answers(bytes.clone(), shard::decode_head, shard::encode_head);
    let read_bundle = |bytes| shard::decode_bundle(bytes, 0);
    answers(bytes.clone(), read_bundle, |parts| bundle(parts));
    let read_pack = |bytes| shard::decode_pack(bytes, 0);
    let write_pack = |pack: &Vec<AttemptRecord>| shard::encode_pack(pack.iter().map(|a| (0, a)));
    answers(bytes.clone(), read_pack, write_pack);
    answers(
        bytes.clone(),
        metadata::decode_command,
        metadata::encode_command,
    );
    answers(
        bytes.clone(),
        metadata::decode_state,
        metadata::encode_state,
    );
}

/// Puts runs together as a replica does that starts, and goes on with what came of it.
fn starts_or_refuses(run: Result<KeptRun, DecodeError>, policies: Vec<(QueueName, PlacedPolicy)>) {
    let Ok(run) = run else { return };
    let head = ShardHead {
        stamp: Timestamp::MAX,
        arrivals: 1_000,
        ..ShardHead::default()
    };
    let Ok(mut state) = ShardState::from_parts(head, policies, [run]) else {
        return;
    };
    let purge = Batch {
        epoch: head.epoch,
        stamp: head.stamp,
        seed: 0,
        commands: vec![Command::Purge(Purge { limit: 1_000 })],
    };
    let purged = state.apply(&purge).outcomes.remove(0);
    let is_over = matches!(purged, Outcome::Purged { more: false, .. });
    assert!(is_over, "would be purged for ever: {purged:?}");
    state.freeze();
    while state.take_frozen(1).is_some() {}
}

/// A run of jobs of a queue, at places of which one may be given twice.
fn run_of(mut kept: Vec<Kept>, queue: &QueueName, mut places: Vec<u64>) -> Vec<Kept> {
    places.sort_unstable();
    for (place, kept) in places.into_iter().zip(&mut kept) {
        match kept {
            Kept::Held(job, _) => {
                job.header.sequence = place;
                job.header.queue = queue.clone();
            }
            Kept::Gone(entry) => Arc::make_mut(entry).sequence = place,
        }
    }
    kept
}

proptest! {
    #[test]
    fn damaged_run_makes_a_shard_or_is_refused(
        kept in vec(values::jobs::kept(), 0..4), head in values::jobs::frozen_head(),
        places in vec(0_u64..8, 4), damage in damage(),
    ) {
        let (queue, _) = &head.policies[0];
        let run = shard::encode_run(1, run_of(kept, queue, places));
        let read = |bytes| shard::Reader::default().read(bytes);
        starts_or_refuses(read(run.clone()), head.policies.clone());
        starts_or_refuses(read(damaged(&run, &damage)), head.policies);
    }

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in vec(any::<u8>(), 0..200)) {
        all_answer(&bytes.into());
    }

    #[test]
    fn damaged_batch_never_panics_a_decoder(batch in values::shard::batch(), damage in damage()) {
        all_answer(&damaged(&shard::encode_batch(&batch), &damage));
    }

    #[test]
    fn damaged_run_never_panics_a_decoder(run in vec(values::jobs::kept(), 0..4), damage in damage()) {
        all_answer(&damaged(&shard::encode_run(1, run), &damage));
    }

    #[test]
    fn damaged_bundle_never_panics_a_decoder(
        parts in vec(vec(any::<u8>(), 0..40), 0..4), damage in damage(),
    ) {
        let parts: Vec<_> = (0..).zip(parts.into_iter().map(Bytes::from)).collect();
        all_answer(&damaged(&bundle(&parts), &damage));
    }

    #[test]
    fn damaged_head_never_panics_a_decoder(head in values::jobs::frozen_head(), damage in damage()) {
        all_answer(&damaged(&shard::encode_head(&head), &damage));
    }

    #[test]
    fn damaged_command_never_panics_a_decoder(command in values::metadata::command(), damage in damage()) {
        all_answer(&damaged(&metadata::encode_command(&command), &damage));
    }

    #[test]
    fn damaged_metadata_never_panics_a_decoder(state in values::metadata::state(), damage in damage()) {
        all_answer(&damaged(&metadata::encode_state(&state), &damage));
    }
}
