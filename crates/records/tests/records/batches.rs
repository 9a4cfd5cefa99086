//! Batches: every command survives the log, and payloads are not copied on the way out.

use bytes::Bytes;
use leasehold_core::shard::command::{Complete, Fail, Submit};
use leasehold_core::shard::{Batch, Command};
use leasehold_records::shard::{decode_batch, encode_batch};
use proptest::prelude::*;

use crate::values::shard::{batch, complete, fail, submit};

proptest! {
    #[test]
    fn batch_survives_its_bytes(batch in batch()) {
        let bytes = encode_batch(&batch);
        prop_assert_eq!(decode_batch(bytes), Ok(batch));
    }

    #[test]
    fn payloads_are_slices_of_the_bytes_they_were_read_from(
        commands in (submit(), complete(), fail()),
    ) {
        let commands = vec![commands.0, commands.1, commands.2];
        let bytes = encode_batch(&Batch { commands, ..Batch::default() });
        let read = decode_batch(bytes.clone()).unwrap();
        for payload in read.commands.iter().map(payload_of) {
            prop_assert!(payload.is_empty() || lies_within(payload, &bytes));
        }
    }
}

fn payload_of(command: &Command) -> &Bytes {
    if let Command::Submit(submit) = command {
        let Submit { payload, .. } = submit.as_ref();
        return payload;
    }
    if let Command::Fail(fail) = command {
        let Fail { detail, .. } = fail.as_ref();
        return detail;
    }
    let Command::Complete(Complete { result, .. }) = command else {
        panic!("{command:?} carries nothing");
    };
    result
}

fn lies_within(part: &Bytes, whole: &Bytes) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr())
}

#[test]
fn tick_is_an_empty_batch_and_survives_too() {
    let tick = Batch::default();
    assert_eq!(decode_batch(encode_batch(&tick)), Ok(tick));
}
