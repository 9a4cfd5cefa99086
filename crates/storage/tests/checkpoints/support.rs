//! What the tests of checkpoints have in common: a model of one, and repeatable changes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_storage::{
    Checkpoint, CheckpointError, CheckpointOptions, CheckpointStore, Disk, MemoryDisk, OpenMode,
    Table, View,
};
use leasehold_types::GroupId;

pub(crate) const JOBS: Table = Table::new("jobs");
pub(crate) const PAYLOADS: Table = Table::new("payloads").apart();
pub(crate) const TABLES: [Table; 2] = [JOBS, PAYLOADS];

pub(crate) const FILE: &str = "checkpoint-g3";
pub(crate) const VALUES: &str = ".values-";
pub(crate) const INCOMING: &str = "checkpoint-g3.incoming";

pub(crate) fn group() -> GroupId {
    GroupId::new(3)
}

/// So small that pages leave the cache and syncs go ahead in the midst of a change.
pub(crate) fn small() -> CheckpointOptions {
    CheckpointOptions {
        cache_bytes: 128 * 1024,
        sync_every: 32 * 1024,
        compact_from: 512 * 1024,
        value_file_bytes: 48 * 1024,
    }
}

pub(crate) fn store(disk: &MemoryDisk) -> CheckpointStore {
    CheckpointStore::new(Arc::new(disk.clone()), small())
}

pub(crate) fn open(disk: &MemoryDisk) -> Checkpoint {
    store(disk).open(group()).unwrap()
}

pub(crate) fn try_open(disk: &MemoryDisk) -> Result<Checkpoint, CheckpointError> {
    store(disk).open(group())
}

/// The disks that every rule should hold on.
pub(crate) fn each_disk(mut rule: impl FnMut(Arc<dyn Disk>)) {
    rule(Arc::new(MemoryDisk::new()));
    let folder = tempfile::tempdir().unwrap();
    rule(Arc::new(
        leasehold_storage::OsDisk::open(folder.path()).unwrap(),
    ));
}

/// What a checkpoint should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) head: Option<Bytes>,
    pub(crate) rows: BTreeMap<Table, BTreeMap<Bytes, Bytes>>,
}

impl Model {
    pub(crate) fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        let _ = self.rows.entry(table).or_default().insert(key, value);
    }

    pub(crate) fn remove(&mut self, table: Table, key: &Bytes) {
        if let Some(rows) = self.rows.get_mut(&table) {
            let _ = rows.remove(key);
        }
    }

    /// What a view holds, all of it.
    pub(crate) fn of(view: &View) -> Result<Self, CheckpointError> {
        let mut model = Self {
            head: view.head(),
            rows: BTreeMap::new(),
        };
        for table in TABLES {
            let rows = view.scan(table, ..)?.collect::<Result<_, _>>()?;
            let _ = model.rows.insert(table, rows);
        }
        Ok(model)
    }

    pub(crate) fn assert_is(&self, view: &View) {
        let found = Self::of(view).unwrap();
        assert_eq!(found.head, self.head);
        for table in TABLES {
            let expected = self.rows.get(&table).cloned().unwrap_or_default();
            assert!(found.rows[&table] == expected, "{table:?} differs");
        }
    }

    /// Whether this is what a view holds.
    pub(crate) fn is(&self, found: &Self) -> bool {
        let rows = |model: &Self, table| model.rows.get(&table).cloned().unwrap_or_default();
        self.head == found.head
            && TABLES
                .iter()
                .all(|table| rows(self, *table) == rows(found, *table))
    }
}

/// Repeatable bytes that no two keys and versions share.
pub(crate) fn value(key: u64, version: u64, length: usize) -> Bytes {
    let mut mixed = key
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(version.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        mixed ^= mixed << 13;
        mixed ^= mixed >> 7;
        mixed ^= mixed << 17;
        bytes.extend_from_slice(&mixed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// The names on a disk but for those of value files.
pub(crate) fn names(disk: &dyn Disk) -> Vec<String> {
    let names = disk.list().unwrap().into_iter();
    names.filter(|name| !name.contains(VALUES)).collect()
}

/// The value files on a disk.
pub(crate) fn value_files(disk: &dyn Disk) -> Vec<String> {
    let names = disk.list().unwrap().into_iter();
    names.filter(|name| name.contains(VALUES)).collect()
}

/// Bytes that all files on a disk take.
pub(crate) fn used(disk: &dyn Disk) -> u64 {
    let length = |name: &String| disk.open(name, OpenMode::Existing).unwrap().length();
    disk.list()
        .unwrap()
        .iter()
        .map(|name| length(name).unwrap())
        .sum()
}

/// Length of the group's file.
pub(crate) fn length(disk: &dyn Disk) -> u64 {
    let file = disk.open(FILE, OpenMode::Existing).unwrap();
    file.length().unwrap()
}

pub(crate) fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// One commit of a typical kind, on the checkpoint and on the model: new rows at the end, some changed, some gone.
pub(crate) fn change(
    checkpoint: &Checkpoint,
    model: &mut Model,
    version: u64,
    rows: u64,
) -> Result<(), CheckpointError> {
    let mut next = model.clone();
    let mut writing = checkpoint.begin()?;
    for at in 0..rows {
        let new = version * rows + at;
        let lengths = [(JOBS, 200), (PAYLOADS, 100 + (new * 37 % 2000) as usize)];
        for (table, length) in lengths {
            let row = value(new, version, length);
            writing.put(table, &key(new), &row)?;
            next.put(table, key(new), row);
        }
        let old = new * 7 % (new + 1);
        if at % 3 == 0 {
            writing.remove(PAYLOADS, &key(old))?;
            next.remove(PAYLOADS, &key(old));
        } else if at % 3 == 1 {
            let row = value(old, version, 210);
            writing.put(JOBS, &key(old), &row)?;
            next.put(JOBS, key(old), row);
        }
    }
    let head = Bytes::from(format!("head {version}"));
    next.head = Some(head.clone());
    writing.commit(&head)?;
    *model = next;
    Ok(())
}
