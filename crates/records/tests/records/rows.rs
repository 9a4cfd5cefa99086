//! The rows of a shard's checkpoint: what a replica reads is what another one wrote.

use bytes::Bytes;
use leasehold_core::shard::job::Recent;
use leasehold_core::shard::state::{FrozenHead, Kept, ShardHead};
use leasehold_records::DecodeError;
use leasehold_records::shard::{
    Reader, decode_head, decode_pack, encode_head, encode_pack, encode_run,
};
use leasehold_records::store::v1;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use crate::values::jobs::{attempt, frozen_head, kept};

proptest! {
    #[test]
    fn run_survives_its_row(runs in vec(vec(kept(), 0..5), 1..4)) {
        // One reader for all: what it remembers of one run must not leak into another.
        let mut reader = Reader::default();
        for run in runs {
            let bytes = encode_run(7, run.clone());
            prop_assert_eq!(encode_run(7, run.clone()), bytes.clone());
            let read = reader.read(bytes).unwrap();
            prop_assert_eq!((read.packs, read.kept), (7, run));
        }
    }

    #[test]
    fn head_survives_its_row(head in frozen_head()) {
        prop_assert_eq!(decode_head(encode_head(&head)), Ok(head));
    }

    #[test]
    fn attempt_is_found_in_its_pack(attempts in vec(attempt(), 1..5)) {
        let pack = encode_pack((0..).zip(&attempts));
        for (job, attempt) in (0..).zip(attempts) {
            prop_assert_eq!(decode_pack(pack.clone(), job), Ok(vec![attempt]));
        }
    }
}

proptest! {
    #[test]
    fn row_with_attempts_of_its_own_says_what_rules_go_by(
        kept in kept(), attempts in vec(attempt(), 1..4),
    ) {
        let mut run = v1::JobRun::decode(encode_run(0, [kept])).unwrap();
        let Some(v1::kept::Kind::Job(job)) = &mut run.kept[0].kind else {
            return Ok(());
        };
        let pack = v1::AttemptPack::decode(encode_pack((0..).zip(&attempts))).unwrap();
        job.history = pack.attempts.into_iter().filter_map(|packed| packed.attempt).collect();
        job.recent = None;
        let read = Reader::default().read(run.encode_to_vec().into()).unwrap();
        let Kept::Held(job, _) = &read.kept[0] else {
            panic!("not held: {read:?}");
        };
        let recent = job.header.recent.as_deref().cloned();
        let is_over = job.header.state.is_terminal();
        prop_assert_eq!(recent, Recent::after(&attempts).filter(|_| !is_over));
        prop_assert_eq!(&job.body().attempts, &attempts);
        prop_assert_eq!(Reader::default().read(encode_run(0, read.kept.clone())), Ok(read));
    }
}

fn head() -> v1::ShardHead {
    let frozen = FrozenHead {
        head: ShardHead::default(),
        policies: Vec::new(),
    };
    v1::ShardHead::decode(encode_head(&frozen)).unwrap()
}

fn read(head: &v1::ShardHead) -> DecodeError {
    decode_head(head.encode_to_vec().into()).unwrap_err()
}

#[test]
fn head_of_a_newer_format_is_refused_with_its_number() {
    let newer = v1::ShardHead {
        format: 2,
        ..head()
    };
    let is_refused = matches!(
        read(&newer),
        DecodeError::UnknownFormat {
            format: 2,
            known: 1,
            ..
        }
    );
    assert!(is_refused);
    let none = v1::ShardHead {
        format: 0,
        ..head()
    };
    let field = "format";
    assert!(matches!(read(&none), DecodeError::Missing { field: f, .. } if f == field));
}

#[test]
fn place_that_no_word_stands_in_is_refused_by_its_field() {
    let record = v1::Remembered {
        job: Bytes::from_static(&[7; 14]),
        queue: 3,
        digest: Bytes::from_static(&[7; 32]),
        ..v1::Remembered::default()
    };
    let kind = Some(v1::kept::Kind::Remembered(record));
    let run = v1::JobRun {
        names: vec!["chat".into()],
        kept: vec![v1::Kept { kind }],
        ..v1::JobRun::default()
    };
    let refused = Reader::default().read(run.encode_to_vec().into());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("Remembered.queue") && refused.contains("name 3 of 1"),
        "{refused}"
    );
}
