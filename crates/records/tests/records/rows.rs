//! The rows of a shard's checkpoint: what a replica reads is what another one wrote.

use bytes::Bytes;
use leasehold_core::shard::job::Recent;
use leasehold_core::shard::state::{
    BUNDLE_BYTES, FrozenBundle, FrozenHead, Kept, PART_BYTES, RUN, ShardHead,
};
use leasehold_records::DecodeError;
use leasehold_records::shard::{
    Reader, decode_bundle, decode_head, decode_pack, encode_bundle, encode_head, encode_pack,
    encode_run,
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
    fn bundle_survives_its_row(parts in vec(vec(any::<u8>(), 0..40), 1..5), run in 0_u64..1 << 50) {
        let parts: Vec<_> = parts.into_iter().map(Bytes::from).collect();
        let first = run * RUN + 3;
        let bundle = FrozenBundle { first, parts: (first..).zip(&parts).collect() };
        let read = decode_bundle(encode_bundle(&bundle), first).unwrap();
        prop_assert!(read.iter().map(|(job, part)| (*job, part)).eq(bundle.parts));
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

/// A full bundle of parts of one length, of so many that it was given.
fn full_bundle(bytes: usize) -> Bytes {
    let part = Bytes::from(vec![7; bytes]);
    let most = BUNDLE_BYTES / (bytes + PART_BYTES);
    let parts = (0..16).map(|job| (job, &part)).take(most);
    encode_bundle(&FrozenBundle {
        first: 0,
        parts: parts.collect(),
    })
}

#[test]
fn full_bundle_is_no_longer_than_its_bound_whatever_its_parts_are() {
    for bytes in [
        0, 1, 127, 128, 1_024, 2_037, 2_038, 5_430, 10_900, 16_374, 32_700,
    ] {
        let length = full_bundle(bytes).len();
        assert!(
            length <= BUNDLE_BYTES,
            "{length} bytes with parts of {bytes}"
        );
    }
}

#[test]
fn bundle_whose_parts_are_not_in_order_is_refused() {
    let part = Bytes::from_static(b"x");
    for places in [&[1, 1][..], &[2, 1], &[16], &[0]] {
        let parts = places.iter().map(|place| v1::BundledPart {
            place: *place,
            part: part.clone(),
        });
        let parts = parts.collect();
        let bundle = v1::PartBundle { parts }.encode_to_vec();
        let refused = decode_bundle(bundle.into(), 17).unwrap_err().to_string();
        assert!(refused.contains("BundledPart.place"), "{refused}");
    }
}

#[test]
fn job_in_a_bundle_that_no_run_has_is_refused() {
    let job = v1::KeptJob {
        payload_bytes: Some(1),
        payload_bundle: 16,
        ..v1::KeptJob::default()
    };
    let kind = Some(v1::kept::Kind::Job(job));
    let run = v1::JobRun {
        kept: vec![v1::Kept { kind }],
        ..v1::JobRun::default()
    };
    let refused = Reader::default().read(run.encode_to_vec().into());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("KeptJob.payload_bundle"), "{refused}");
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
