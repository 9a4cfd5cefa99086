//! The metadata: its commands and its whole state.

use leasehold_core::metadata::MetadataState;
use leasehold_records::DecodeError;
use leasehold_records::metadata::{decode_command, decode_state, encode_command, encode_state};
use leasehold_records::store::v1;
use proptest::prelude::*;
use prost::Message;

use crate::values::metadata::{command, state};

proptest! {
    #[test]
    fn command_survives_its_bytes(command in command()) {
        prop_assert_eq!(decode_command(encode_command(&command)), Ok(command));
    }

    #[test]
    fn state_survives_its_snapshot(state in state()) {
        let bytes = encode_state(&state);
        let restored = decode_state(bytes.clone()).unwrap();
        prop_assert_eq!(&restored, &state);
        prop_assert_eq!(encode_state(&restored), bytes);
    }
}

#[test]
fn state_before_the_founding_survives_too() {
    let empty = MetadataState::default();
    assert_eq!(decode_state(encode_state(&empty)), Ok(empty));
}

#[test]
fn snapshot_that_contradicts_itself_is_refused() {
    let queue = v1::QueueRecord {
        name: "chat".into(),
        policy: Some((&leasehold_core::policy::QueuePolicy::default()).into()),
        ..v1::QueueRecord::default()
    };
    let snapshot = v1::MetadataSnapshot {
        queues: vec![queue],
        ..v1::MetadataSnapshot::default()
    };
    let refused = decode_state(snapshot.encode_to_vec().into()).unwrap_err();
    assert!(matches!(refused, DecodeError::Metadata(_)), "{refused}");
}
