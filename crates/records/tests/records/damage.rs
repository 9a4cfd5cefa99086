//! Whatever bytes are given, a decoder answers: never with a panic, and never with a value that it would not read
//! again from its own writing.

use std::fmt::Debug;

use bytes::Bytes;
use leasehold_core::shard::job::AttemptRecord;
use leasehold_core::shard::state::KeptRun;
use leasehold_records::{DecodeError, metadata, shard};
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

fn all_answer(bytes: &Bytes) {
    answers(bytes.clone(), shard::decode_batch, shard::encode_batch);
    let read_run = |bytes| shard::Reader::default().read(bytes);
    let write_run = |run: &KeptRun| shard::encode_run(run.packs, run.kept.clone());
    answers(bytes.clone(), read_run, write_run);
    answers(bytes.clone(), shard::decode_head, shard::encode_head);
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

proptest! {
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
