//! A data folder in the repository: its files without the zeros at their ends, and how long they were.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use leasehold_storage::{CheckpointOptions, CheckpointStore, OsDisk, Table};
use leasehold_types::GroupId;

/// Names and lengths, one file a line.
const LENGTHS: &str = "LENGTHS";
/// Held while a process has the folder; no part of what it keeps.
const LOCK: &str = "LOCK";
/// The whole fixture, in bytes: everybody who clones the project has it.
const BYTES_MAX: usize = 256 * 1024;

pub(crate) fn unpack(fixture: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for line in fs::read_to_string(fixture.join(LENGTHS)).unwrap().lines() {
        let (name, length) = line.split_once(' ').unwrap();
        let file = folder.join(name);
        fs::copy(fixture.join(name), &file).unwrap();
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_len(length.parse().unwrap()).unwrap();
    }
}

/// Puts a fixture in place of the one that is there, if there is one.
pub(crate) fn copy(made: &Path, fixture: &Path) {
    let _ = fs::remove_dir_all(fixture);
    fs::create_dir_all(fixture).unwrap();
    for file in fs::read_dir(made).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), fixture.join(file.file_name())).unwrap();
    }
}

/// Makes a fixture of a folder that no process has open.
pub(crate) fn pack(folder: &Path, fixture: &Path) {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != LOCK).collect();
    names.sort();
    let mut lengths = String::new();
    let mut total = 0;
    for name in names {
        let content = fs::read(folder.join(&name)).unwrap();
        lengths.push_str(&format!("{name} {}\n", content.len()));
        let kept = without_zeros(&content);
        fs::write(fixture.join(&name), kept).unwrap();
        total += kept.len();
    }
    fs::write(fixture.join(LENGTHS), lengths).unwrap();
    assert!(total < BYTES_MAX, "the fixture has {total} bytes");
}

fn without_zeros(content: &[u8]) -> &[u8] {
    let last = content.iter().rposition(|byte| *byte != 0);
    &content[..last.map_or(0, |last| last + 1)]
}

/// How many rows a table of a group's checkpoint has, in a folder that no process has open.
pub(crate) fn rows(folder: &Path, group: GroupId, table: Table) -> usize {
    let disk = OsDisk::open(folder).unwrap();
    let store = CheckpointStore::new(Arc::new(disk), CheckpointOptions::default());
    let view = store.open(group).unwrap().view().unwrap();
    view.scan(table, ..).unwrap().count()
}
