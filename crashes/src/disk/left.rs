//! What a killed process leaves unsynced, noted so that the next one knows it.
//!
//! After a kill the page cache still holds what was never synced: the next process reads it, and may take it for
//! durable. A power failure in *its* time must be able to take that away, so the list of what is unsynced outlives the
//! process in a note beside the data.

use std::io;
use std::path::Path;

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
}

#[derive(Debug, Serialize, Deserialize)]
struct LeftFile {
    name: String,
    generations: Vec<LeftGeneration>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LeftGeneration {
    number: u64,
    length: u64,
    sectors: Vec<(u64, Vec<u8>)>,
}

/// Notes what is unsynced. A file that has no name any more is left out: nobody will ever read it.
pub(super) fn write(yard: &Path, names: &Names) -> io::Result<()> {
    let unsynced = names.known().filter(|(_, cell)| !cell.is_synced());
    let left = Left {
        changes: names.changes().to_vec(),
        next: names.next(),
        files: unsynced.map(|(name, cell)| file(name, cell)).collect(),
    };
    let text = serde_json::to_vec(&left).map_err(io::Error::other)?;
    std::fs::write(yard.join(NOTE), text)
}

fn file(name: &str, cell: &Cell) -> LeftFile {
    let generations = cell.generations().into_iter();
    LeftFile {
        name: name.to_owned(),
        generations: generations.map(LeftGeneration::from).collect(),
    }
}

/// Reads and removes the note; false when there is none, as after a kill from outside.
pub(super) fn read(yard: &Path, names: &mut Names) -> io::Result<bool> {
    let path = yard.join(NOTE);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        text => text?,
    };
    std::fs::remove_file(&path)?;
    let left: Left = serde_json::from_slice(&text).map_err(io::Error::other)?;
    for file in left.files {
        let cell = names.open(&file.name, leasehold_storage::OpenMode::Existing)?;
        cell.resume(file.generations.into_iter().map(Generation::from).collect());
    }
    names.resume(left.changes, left.next);
    Ok(true)
}

impl From<Generation> for LeftGeneration {
    fn from(generation: Generation) -> Self {
        Self {
            number: generation.number,
            length: generation.length,
            sectors: generation.sectors.into_iter().collect(),
        }
    }
}

impl From<LeftGeneration> for Generation {
    fn from(left: LeftGeneration) -> Self {
        Self {
            number: left.number,
            length: left.length,
            sectors: left.sectors.into_iter().collect(),
        }
    }
}
