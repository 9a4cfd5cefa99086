//! What a killed process leaves unsynced, noted so that the next one knows it.
//!
//! After a kill the page cache still holds what was never synced: the next process reads it, and may take it for
//! durable. A power failure in *its* time must be able to take that away, so the list of what is unsynced outlives the
//! process in a note beside the data.

use std::io;
use std::sync::Arc;

use leasehold_storage::{Disk as _, OpenMode, OsDisk};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Generation};
use super::names::{Change, Names};

/// The note's name in the yard.
const NOTE: &str = "unsynced.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Left {
    changes: Vec<Change>,
    next: u64,
    files: Vec<LeftFile>,
    /// The same for files that have no name any more, by their names in the yard: power loss may bring them back.
    nameless: Vec<LeftFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LeftFile {
    name: String,
    generations: Vec<Generation>,
}

/// Notes what is unsynced.
pub(super) fn write(yard: &OsDisk, names: &Names) -> io::Result<()> {
    let left = Left {
        changes: names.changes().to_vec(),
        next: names.next(),
        files: unsynced(names.known()),
        nameless: unsynced(names.nameless()),
    };
    let text = serde_json::to_vec(&left).map_err(io::Error::other)?;
    yard.open(NOTE, OpenMode::Create)?.write_at(0, &text)
}

fn unsynced<'a>(cells: impl Iterator<Item = (&'a String, &'a Arc<Cell>)>) -> Vec<LeftFile> {
    let unsynced = cells.filter(|(_, cell)| !cell.is_synced());
    let files = unsynced.map(|(name, cell)| LeftFile {
        name: name.clone(),
        generations: cell.generations(),
    });
    files.collect()
}

/// Reads and removes the note; false when there is none, as after a kill from outside.
pub(super) fn read(yard: &OsDisk, names: &mut Names) -> io::Result<bool> {
    let path = yard.folder().join(NOTE);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        text => text?,
    };
    std::fs::remove_file(&path)?;
    let left: Left = serde_json::from_slice(&text).map_err(io::Error::other)?;
    for file in left.files {
        let cell = names.open(&file.name, OpenMode::Existing)?;
        cell.resume(file.generations);
    }
    for file in left.nameless {
        names.open_nameless(&file.name)?.resume(file.generations);
    }
    names.resume(left.changes, left.next);
    Ok(true)
}
