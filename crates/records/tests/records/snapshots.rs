//! Whole shards: what a replica restores is what another one wrote.

use bytes::{Bytes, BytesMut};
use leasehold_core::shard::ShardState;
use leasehold_records::DecodeError;
use leasehold_records::shard::{
    decode_body, decode_header, decode_state, encode_body, encode_header, encode_state,
};
use leasehold_records::store::v1;
use leasehold_types::Incarnation;
use proptest::prelude::*;
use prost::Message;

use crate::values::jobs::{body, header, shard};

proptest! {
    #[test]
    fn shard_survives_its_snapshot(state in shard()) {
        let bytes = encode_state(&state);
        let restored = decode_state(bytes.clone()).unwrap();
        prop_assert_eq!(&restored, &state);
        prop_assert_eq!(encode_state(&restored), bytes);
    }

    #[test]
    fn header_and_body_survive_apart(header in header(), body in body()) {
        prop_assert_eq!(decode_header(encode_header(&header)), Ok(header));
        prop_assert_eq!(decode_body(encode_body(&body)), Ok(body));
    }

    #[test]
    fn snapshot_cut_short_anywhere_is_refused(state in shard(), at in any::<prop::sample::Index>()) {
        let bytes = encode_state(&state);
        prop_assert!(decode_state(bytes.slice(..at.index(bytes.len()))).is_err());
    }

    #[test]
    fn snapshot_with_bytes_behind_its_end_is_refused(state in shard()) {
        let mut bytes = BytesMut::from(encode_state(&state));
        bytes.extend_from_slice(b"??");
        let refused = decode_state(bytes.freeze()).unwrap_err();
        prop_assert_eq!(refused, DecodeError::Surplus { message: "Remembered", bytes: 2 });
    }
}

fn with_head(change: impl FnOnce(&mut v1::ShardHead)) -> Bytes {
    let empty = encode_state(&ShardState::new(Incarnation::new(1)));
    let mut head = v1::ShardHead::decode_length_delimited(empty).unwrap();
    change(&mut head);
    head.encode_length_delimited_to_vec().into()
}

#[test]
fn snapshot_of_a_newer_format_is_refused_with_its_number() {
    let refused = decode_state(with_head(|head| head.format = 2)).unwrap_err();
    assert!(matches!(
        refused,
        DecodeError::UnknownFormat {
            format: 2,
            known: 1,
            ..
        }
    ));
    let refused = decode_state(with_head(|head| head.format = 0)).unwrap_err();
    assert!(matches!(
        refused,
        DecodeError::Missing {
            field: "format",
            ..
        }
    ));
}

#[test]
fn snapshot_that_promises_more_than_it_holds_is_refused_without_reserving_for_it() {
    for spoil in [
        (|head| head.jobs = u64::MAX) as fn(&mut v1::ShardHead),
        |head| head.policies = u64::MAX,
        |head| head.remembered = u64::MAX,
    ] {
        assert!(decode_state(with_head(spoil)).is_err());
    }
}
