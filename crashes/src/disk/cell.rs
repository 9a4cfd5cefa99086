//! One file of a crashing disk, and how to take back what was not synced.
//!
//! The real file always holds what its readers see. Beside it stands, for every sector written since the last sync, what
//! the sector held before; power loss puts some of that back. Each sync begins a new generation, so that what is written
//! while it runs is not taken for synced with it.
//!
//! What must hold: a sector that a finished sync covered is never put back to what it held before that sync, and a cut
//! that no sync covered is lost as a whole or not at all, as a file's length and its blocks change together.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_storage::DiskFile;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

/// What a disk writes as one; a torn write is torn between two of these.
const SECTOR: u64 = SECTOR_BYTES as u64;
const SECTOR_BYTES: usize = 512;

/// How much of what is unsynced is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    All,
    /// Each sector with this probability.
    Some(f64),
}

impl Loss {
    fn takes(self, rng: &mut SmallRng) -> bool {
        match self {
            Self::All => true,
            Self::Some(probability) => rng.random_bool(probability),
        }
    }
}

/// What a file held before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    number: u64,
    /// The file's length when the generation began.
    length: u64,
    /// The least length that the file was cut to since, where that is less.
    cut: Option<u64>,
    /// By number of the sector; shorter than one where the file ended.
    sectors: BTreeMap<u64, Vec<u8>>,
}

impl Generation {
    const fn new(number: u64, length: u64) -> Self {
        Self {
            number,
            length,
            cut: None,
            sectors: BTreeMap::new(),
        }
    }

    /// Forgets what the file held behind a later end.
    fn end_at(&mut self, end: u64) {
        self.length = self.length.min(end);
        for (sector, before) in &mut self.sectors {
            let kept = end.saturating_sub(sector * SECTOR);
            before.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
    }
}

/// A file and its generations, the oldest first; the last is the one being written.
pub(super) struct Cell {
    /// The name that it has, or had last. Handles live longer than names: a file is written under another one first.
    name: Mutex<Arc<str>>,
    file: Box<dyn DiskFile>,
    undo: Mutex<VecDeque<Generation>>,
    /// Syncs that have to follow a sync before it counts: 0 for an honest disk.
    syncs_behind: usize,
}

impl Cell {
    pub(super) fn new(
        name: &str,
        file: Box<dyn DiskFile>,
        syncs_behind: usize,
    ) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self {
            name: Mutex::new(name.into()),
            file,
            undo: Mutex::new(VecDeque::from([Generation::new(0, length)])),
            syncs_behind,
        })
    }

    /// Goes on where a killed process left off.
    pub(super) fn resume(&self, generations: Vec<Generation>) {
        let mut undo = self.undo();
        if let Some(last) = generations.last() {
            let number = last.number + 1;
            let length = undo.back().map_or(0, |generation| generation.length);
            *undo = generations.into();
            undo.push_back(Generation::new(number, length));
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        let name = self.name.lock();
        Arc::clone(&name.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn rename(&self, name: &str) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name.into();
    }

    /// What has to be known to go on after the process was killed.
    pub(super) fn generations(&self) -> Vec<Generation> {
        self.undo().iter().cloned().collect()
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        self.file.as_ref()
    }

    pub(super) fn is_synced(&self) -> bool {
        let length = self.file.length().ok();
        self.undo()
            .iter()
            .all(|generation| generation.sectors.is_empty() && Some(generation.length) == length)
    }

    fn undo(&self) -> MutexGuard<'_, VecDeque<Generation>> {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut undo = self.undo();
        let end = offset + bytes.len() as u64;
        self.keep(&mut undo, offset, end)?;
        self.file.write_at(offset, bytes)
    }

    pub(super) fn set_length(&self, length: u64) -> io::Result<()> {
        let mut undo = self.undo();
        let before = self.file.length()?;
        self.keep(&mut undo, length.min(before), before)?;
        if let Some(generation) = undo.back_mut().filter(|last| length < last.length) {
            let least = generation.cut.unwrap_or(length);
            generation.cut = Some(least.min(length));
        }
        self.file.set_length(length)
    }

    /// Remembers what a range held, where this generation does not know it yet.
    fn keep(&self, undo: &mut VecDeque<Generation>, start: u64, end: u64) -> io::Result<()> {
        let Some(generation) = undo.back_mut() else {
            return Ok(());
        };
        let sectors = start / SECTOR..end.div_ceil(SECTOR);
        let is_missing = |sector: &u64| !generation.sectors.contains_key(sector);
        let Some(first) = sectors.clone().find(is_missing) else {
            return Ok(());
        };
        let held = read_up_to(self.file.as_ref(), first * SECTOR, sectors.end * SECTOR)?;
        let mut pieces = held.chunks(SECTOR_BYTES);
        for sector in first..sectors.end {
            let piece = pieces.next().unwrap_or_default();
            let known = generation.sectors.entry(sector);
            known.or_insert_with(|| piece.to_vec());
        }
        Ok(())
    }

    /// A sync that covers what was written before it began.
    pub(super) fn sync(&self) -> io::Result<()> {
        let number = self.begin_generation()?;
        self.file.sync()?;
        let mut undo = self.undo();
        let covered = undo.iter().filter(|generation| generation.number < number);
        let gone = covered.count().saturating_sub(self.syncs_behind);
        undo.drain(..gone);
        Ok(())
    }

    fn begin_generation(&self) -> io::Result<u64> {
        let mut undo = self.undo();
        let number = undo.back().map_or(0, |last| last.number + 1);
        undo.push_back(Generation::new(number, self.file.length()?));
        Ok(number)
    }

    /// Power fails: some of what was not synced is as it was before. Says how many sectors and lengths were put back.
    pub(super) fn lose_power(&self, loss: Loss, rng: &mut SmallRng) -> io::Result<usize> {
        let mut undo = self.undo();
        let mut lost = 0;
        let mut end = None;
        while let Some(mut generation) = undo.pop_back() {
            let was_cut_later = end.is_some();
            match generation.cut {
                Some(cut) if !was_cut_later && loss.takes(rng) => {
                    lost += self.take_back_cut(cut, &mut generation)?;
                }
                Some(cut) => end = Some(end.unwrap_or(cut).min(cut)),
                None => {}
            }
            // Where a cut stands, nothing from before it comes back behind it.
            end.inspect(|end| generation.end_at(*end));
            let is_longer = !was_cut_later && self.file.length()? != generation.length;
            if is_longer && loss.takes(rng) {
                self.file.set_length(generation.length)?;
                lost += 1;
            }
            lost += self.put_back(&generation.sectors, || loss.takes(rng))?;
        }
        Ok(lost)
    }

    /// A cut did not come to pass, nor what was done behind it since.
    fn take_back_cut(&self, cut: u64, generation: &mut Generation) -> io::Result<usize> {
        self.file.set_length(generation.length)?;
        let behind = generation.sectors.split_off(&(cut / SECTOR));
        Ok(1 + self.put_back(&behind, || true)?)
    }

    /// Puts sectors back, as far as the file goes. Beyond its old end stand zeros.
    fn put_back(
        &self,
        sectors: &BTreeMap<u64, Vec<u8>>,
        mut is_lost: impl FnMut() -> bool,
    ) -> io::Result<usize> {
        let length = self.file.length()?;
        let mut lost = 0;
        for (&sector, before) in sectors {
            let start = sector * SECTOR;
            let room = length.saturating_sub(start).min(SECTOR);
            if is_lost() && room > 0 {
                let mut bytes = before.clone();
                bytes.resize(usize::try_from(room).map_err(io::Error::other)?, 0);
                self.file.write_at(start, &bytes)?;
                lost += 1;
            }
        }
        Ok(lost)
    }
}

/// What a range holds, up to the end of the file.
fn read_up_to(file: &dyn DiskFile, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(start + filled as u64, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
