//! What other versions write: more fields are skipped, other kinds and unchosen values are refused by name. And what
//! this version writes is held byte by byte, since a number that moves makes every log on disk unreadable.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::{AddNode, Addresses, Build};
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::command::{Complete, Contact, Submit, WorkPhase};
use leasehold_core::shard::{Batch, Command};
use leasehold_records::DecodeError;
use leasehold_records::metadata::{decode_command, encode_command};
use leasehold_records::shard::{decode_batch, encode_batch};
use leasehold_records::store::v1::{self, shard_command::Kind};
use leasehold_types::{
    Boot, BootCount, BootMark, Digest, FenceToken, Incarnation, JobId, QueueName, RecordFormat,
    RegionName, ShardEpoch, Timestamp, VirtualShard,
};
use prost::Message;

/// Field 99 with two bytes: what a version to come may add anywhere.
const NEW_FIELD: [u8; 5] = [0x9a, 0x06, 2, 7, 7];

fn with_new_field(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(bytes.as_ref());
    bytes.extend_from_slice(&NEW_FIELD);
    bytes.freeze()
}

fn job() -> JobId {
    JobId::new(VirtualShard::new(0x0102), *b"random bits!")
}

fn fence() -> FenceToken {
    FenceToken::new(Incarnation::new(1), ShardEpoch::new(2), 300)
}

fn contact() -> Contact {
    Contact {
        job: job(),
        fence: fence(),
        progress: 5,
        progressed_at: Timestamp::from_micros(6),
        phase: WorkPhase::Loading,
    }
}

fn batch(commands: Vec<Command>) -> Batch {
    Batch {
        epoch: ShardEpoch::new(2),
        stamp: Timestamp::from_micros(1_000_000),
        seed: 0x0807_0605_0403_0201,
        commands,
    }
}

fn stored(kind: Kind) -> Bytes {
    let commands = vec![v1::ShardCommand { kind: Some(kind) }];
    let batch = v1::ShardBatch {
        commands,
        ..v1::ShardBatch::default()
    };
    batch.encode_to_vec().into()
}

fn hex(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn field_of_a_newer_version_is_skipped() {
    let batch = batch(vec![Command::Contact(contact())]);
    let bytes = encode_batch(&batch);
    assert_eq!(decode_batch(with_new_field(&bytes)), Ok(batch));
    let join = join();
    assert_eq!(
        decode_command(with_new_field(&encode_command(&join))),
        Ok(join)
    );
}

#[test]
fn command_of_a_newer_version_is_refused_with_the_number_of_its_kind() {
    let unknown = |message| DecodeError::UnknownKind {
        message,
        number: 99,
    };
    let bytes = Bytes::copy_from_slice(&NEW_FIELD);
    assert_eq!(decode_command(bytes), Err(unknown("MetadataCommand")));
    let mut bytes = BytesMut::from(encode_batch(&batch(vec![Command::Contact(contact())])));
    // One more command in field 4, of five bytes.
    bytes.extend_from_slice(&[0x22, 5]);
    bytes.extend_from_slice(&NEW_FIELD);
    assert_eq!(decode_batch(bytes.freeze()), Err(unknown("ShardCommand")));
}

#[test]
fn command_without_a_kind_is_refused() {
    let missing = |message| DecodeError::Missing {
        message,
        field: "kind",
    };
    assert_eq!(
        decode_command(Bytes::new()),
        Err(missing("MetadataCommand"))
    );
    let batch = Bytes::from_static(&[0x22, 0]);
    assert_eq!(decode_batch(batch), Err(missing("ShardCommand")));
}

#[test]
fn value_that_nobody_chose_or_that_is_not_known_is_refused() {
    for phase in [0, 5, -1] {
        let contact = v1::Contact {
            phase,
            ..(&contact()).into()
        };
        let refused = decode_batch(stored(Kind::Contact(contact))).unwrap_err();
        let DecodeError::Invalid { message, field, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!((message, field), ("Contact", "phase"));
    }
}

#[test]
fn field_out_of_bounds_is_refused_by_its_name() {
    type Spoil = fn(&mut v1::Submit);
    let submit = v1::Submit::from(&submit());
    let spoils: [(&str, Spoil); 6] = [
        ("job", |submit| submit.job = Bytes::from_static(b"short")),
        ("queue", |submit| submit.queue = "no spaces".into()),
        ("key", |submit| submit.key = Some(String::new())),
        ("digest", |submit| submit.digest = Bytes::new()),
        ("priority", |submit| submit.priority = 256),
        ("delay", |submit| {
            submit.delay = Some(v1::Span {
                seconds: 0,
                nanos: 1_000_000_000,
            })
        }),
    ];
    for (name, spoil) in spoils {
        let mut submit = submit.clone();
        spoil(&mut submit);
        let refused = decode_batch(stored(Kind::Submit(submit))).unwrap_err();
        assert!(
            refused.to_string().contains(&format!("Submit.{name}")),
            "{refused}"
        );
    }
}

#[test]
fn field_that_is_missing_is_refused_by_its_name() {
    let fence = None;
    let contact = v1::Contact {
        fence,
        ..(&contact()).into()
    };
    let refused = decode_batch(stored(Kind::Contact(contact))).unwrap_err();
    assert_eq!(
        refused,
        DecodeError::Missing {
            message: "Contact",
            field: "fence"
        }
    );
}

#[test]
fn label_given_twice_is_refused() {
    let mut submit = v1::Submit::from(&submit());
    let requirement = submit.requirement.as_mut().unwrap();
    requirement.labels.push(requirement.labels[0].clone());
    let refused = decode_batch(stored(Kind::Submit(submit))).unwrap_err();
    assert!(
        refused.to_string().contains("Requirement.labels"),
        "{refused}"
    );
}

fn submit() -> Submit {
    Submit {
        job: job(),
        queue: QueueName::new("chat").unwrap(),
        tenant: None,
        key: Some("k1".parse().unwrap()),
        payload: Bytes::from_static(b"hello"),
        digest: Digest::new([7; 32]),
        priority: 4,
        delay: Duration::ZERO,
        deadline: Some(Duration::new(3, 4)),
        requirement: Requirement {
            labels: [("m".into(), "x".into())].into(),
            capacity: [("v".into(), 80)].into(),
        },
    }
}

fn join() -> MetadataCommand {
    MetadataCommand::AddNode(AddNode {
        nonce: 1,
        region: RegionName::new("eu").unwrap(),
        addresses: Addresses {
            client: "a:1".into(),
            peer: "a:2".into(),
        },
        boot: Boot {
            count: BootCount::new(3),
            mark: BootMark::new(0x0102_0304),
        },
        build: Build {
            version: "0.1.0".into(),
            reads: RecordFormat::new(1),
        },
    })
}

#[test]
fn bytes_of_a_batch_are_those_of_the_first_version() {
    let complete = Command::Complete(Complete {
        job: job(),
        fence: fence(),
        result: Bytes::from_static(b"done"),
        digest: Digest::new([9; 32]),
    });
    let submit = Command::Submit(Box::new(submit()));
    let batch = batch(vec![submit, Command::Contact(contact()), complete]);
    let first_version = concat!(
        // head
        "080210c0843d190102030405060708",
        // submit
        "2260125e0a0e010272616e646f6d20626974732112046368617422026b312a0568656c6c6f3220070707",
        "0707070707070707070707070707070707070707070707070707070707380442004a0408031004520f0a",
        "060a016d12017812050a01761050",
        // contact
        "2221221f0a0e010272616e646f6d20626974732112070801100218ac02180520062802",
        // complete
        "22432a410a0e010272616e646f6d20626974732112070801100218ac021a04646f6e6522200909090909",
        "090909090909090909090909090909090909090909090909090909",
    );
    assert_eq!(hex(&encode_batch(&batch)), first_version);
}

#[test]
fn bytes_of_a_metadata_command_are_those_of_the_first_version() {
    let first_version = concat!(
        "12360a1000000000000000000000000000000001120265751a0a0a03613a311203613a3220032a05302e312e30",
        "3104030201000000003801",
    );
    assert_eq!(hex(&encode_command(&join())), first_version);
}
