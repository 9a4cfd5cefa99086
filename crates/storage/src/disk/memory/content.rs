//! The bytes of one simulated file: what its readers see, what the disk has, and what is on its way there.

use std::io;

/// What a disk writes as one; a torn write is torn between two of these.
const SECTOR: usize = 512;

/// A file's bytes, twice.
#[derive(Default)]
pub(super) struct Content {
    /// What readers see.
    pub(super) now: Vec<u8>,
    /// What a crash leaves.
    durable: Vec<u8>,
    /// Changes of `now` that no sync has covered yet, oldest first.
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits into memory")
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Content {
    pub(super) fn synced(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            now: bytes,
            unsynced: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let offset = position(offset);
        put(&mut self.now, offset, bytes);
        let bytes = bytes.to_vec();
        self.unsynced.push(Change::Write { offset, bytes });
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let length = position(length);
        self.now.resize(length, 0);
        self.unsynced.push(Change::Length(length));
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let start = position(offset).min(self.now.len());
        let count = buf.len().min(self.now.len() - start);
        buf[..count].copy_from_slice(&self.now[start..start + count]);
        count
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// A sync failed: readers go on seeing the bytes, no later sync brings them to the disk.
    pub(super) fn lose_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn forget_unsynced(&mut self) {
        self.unsynced.clear();
        self.now.clone_from(&self.durable);
    }

    /// Power fails: of each unsynced change, any sectors may have landed.
    pub(super) fn land_some(&mut self, coin: &mut Coin) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, bytes } => self.land_sectors(offset, &bytes, coin),
                Change::Length(length) if coin.toss() => self.durable.resize(length, 0),
                Change::Length(_) => {}
            }
        }
        self.now.clone_from(&self.durable);
    }

    fn land_sectors(&mut self, offset: usize, bytes: &[u8], coin: &mut Coin) {
        let mut done = 0;
        while done < bytes.len() {
            let to_boundary = SECTOR - (offset + done) % SECTOR;
            let end = bytes.len().min(done + to_boundary);
            if coin.toss() {
                put(&mut self.durable, offset + done, &bytes[done..end]);
            }
            done = end;
        }
    }

    pub(super) fn flip(&mut self, bit: u64) -> io::Result<()> {
        let (at, mask) = (position(bit / 8), 1 << (bit % 8));
        let byte = self.now.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= mask;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
        Ok(())
    }
}

/// Repeatable coin tosses from a seed (SplitMix64, Steele et al., 2014).
pub(super) struct Coin(u64);

impl Coin {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn toss(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
