use leasehold_storage::{CheckpointOptions, CheckpointStore, MemoryDisk};
use leasehold_types::GroupId;

use super::*;

const ROWS: Table = Table::new("rows");

fn joiner() -> Joiner {
    let store = CheckpointStore::new(Arc::new(MemoryDisk::new()), CheckpointOptions::default());
    let incoming = store.receive(GroupId::new(1)).unwrap();
    Joiner::new(&[ROWS], incoming.begin().unwrap())
}

/// A part of one row, after so many others.
fn part(table: &str, before: u64) -> v1::RaftSnapshotRows {
    let row = v1::RaftSnapshotRow {
        key: "key".into(),
        value: "value".into(),
    };
    let rows = v1::RaftSnapshotRowList { rows: vec![row] }.encode_to_vec();
    v1::RaftSnapshotRows {
        table: table.to_owned(),
        before,
        checksum: crc32fast::hash(&rows),
        rows: rows.into(),
        last: false,
    }
}

/// What comes of a part after one that fits.
fn joined(second: v1::RaftSnapshotRows) -> Result<bool, String> {
    let mut joiner = joiner();
    assert!(!joiner.join(part(ROWS.name(), 0)).unwrap());
    joiner.join(second).map_err(|error| error.to_string())
}

#[test]
fn part_that_does_not_fit_is_refused_with_what_is_wrong() {
    let whole = part(ROWS.name(), 1);
    let flipped = v1::RaftSnapshotRows {
        checksum: whole.checksum ^ 1,
        ..whole.clone()
    };
    let senseless = v1::RaftSnapshotRows {
        checksum: crc32fast::hash(b"\xff"),
        rows: Bytes::from_static(b"\xff"),
        ..whole.clone()
    };
    assert_eq!(joined(whole), Ok(false));
    for (part, said) in [
        (part(ROWS.name(), 2), "1 rows arrived where 2 were sent"),
        (flipped, "does not match its checksum"),
        (part("columns", 1), "does not know"),
        (senseless, "malformed snapshot"),
    ] {
        let refused = joined(part).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
}
