//! The file below a checkpoint: what redb takes for its storage, with a checksum behind every block.
//!
//! redb trusts what it reads. Here a block that is not what was written is never handed up: reading it fails, with
//! the place. The checksums are in the same file (`layout`), are written before each sync and hence durable with the
//! blocks they are for: whatever redb was told is durable can be read and checked after a crash.
//!
//! - Blocks of a commit that counts are never written over, so a block and its checksum need not land together.
//! - redb's header is written over, so it has its checksum in its own sector (`head`).
//! - A block that was never written is not read; redb reads only what some commit wrote.
//!
//! **Syncs ahead.** After each few megabytes the file is synced though nobody asked for it. One sync of a whole
//! commit would keep the disk from the log for as long as it takes.
//!
//! **Faults.** The first error is kept, and everything after it fails with it: after a failed sync nothing about the
//! file is known, and redb itself works no further after an error of its storage.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use leasehold_types::GroupId;
use redb::StorageBackend;

use crate::disk::{DiskFile, read_exact_at, read_up_to};

mod commits;
mod fault;
mod head;
mod layout;
mod sums;

use commits::Counting;
pub(super) use commits::Outcome;
pub(super) use fault::{Fault, FirstFault, again};
pub use head::CHECKPOINT_FORMAT;
use head::{HEAD, HeadError, Header, SECTOR};
use layout::{BLOCK, BLOCK_BYTES, RUN};
use sums::Sums;

/// One file of a checkpoint.
pub(super) struct BlockFile {
    file: Box<dyn DiskFile>,
    group: GroupId,
    sums: Mutex<Sums>,
    /// Bytes of content, without heads and checksums.
    length: AtomicU64,
    /// Bytes of content that the header on the disk says there are at least.
    vouched: AtomicU64,
    counting: Counting,
    /// Bytes written since the last sync.
    unsynced: AtomicU64,
    sync_every: u64,
    /// One sync at a time: the checksums of the second must not be taken for written by the first.
    syncing: Mutex<()>,
    is_retired: AtomicBool,
    fault: FirstFault,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

impl BlockFile {
    /// Begins an empty file.
    pub(super) fn create(
        file: Box<dyn DiskFile>,
        group: GroupId,
        sync_every: u64,
    ) -> Result<Self, Fault> {
        let head = head::encode_head(group, CHECKPOINT_FORMAT);
        file.write_at(0, &head)
            .and_then(|()| file.set_length(layout::file_length(0)))
            .map_err(|error| Fault::io("write", error))?;
        Ok(Self::new(file, group, sync_every, 0))
    }

    /// Opens a file that is there, having checked its head and its length.
    pub(super) fn open(
        file: Box<dyn DiskFile>,
        group: GroupId,
        sync_every: u64,
    ) -> Result<Self, Fault> {
        let read = |error| Fault::io("read", error);
        let mut head = [0; HEAD];
        let _ = read_up_to(file.as_ref(), 0, &mut head).map_err(read)?;
        let format = head::check_head(&head, group).map_err(|error| match error {
            HeadError::Damaged => Fault::corrupt(0, "its head does not match its checksum"),
            HeadError::OtherGroup => Fault::corrupt(0, "it is the checkpoint of another group"),
            HeadError::Newer { found } => Fault::NewerFormat { found },
        })?;
        let length = file.length().map_err(read)?;
        let cut = || Fault::corrupt(length, "the file ends where no commit ended it");
        let content = layout::content_length(length).ok_or_else(cut)?;
        let file = Self::new(file, group, sync_every, content);
        let header = file.header()?;
        if content < header.content {
            return Err(cut());
        }
        file.vouched.store(header.content, Ordering::Release);
        file.counting.is_found(header.counting());
        file.drop_the_rest()?;
        if format < CHECKPOINT_FORMAT {
            file.raise_format()?;
        }
        Ok(file)
    }

    /// From now on a version that does not know this format refuses the file. Durable before anything is written that
    /// it would not know; the head is in one sector, which lands whole or not at all.
    fn raise_format(&self) -> Result<(), Fault> {
        self.put(0, &head::encode_head(self.group, CHECKPOINT_FORMAT))?;
        self.file.sync().map_err(Fault::of_failed_sync)
    }

    /// Cuts off what the header does not vouch for: no commit that counts reaches there.
    ///
    /// SUBTLE: the process that lengthened the file may have ended before its sync. The next header vouches for the
    /// whole length, and could land without it; then a good file would be taken for one that was cut.
    fn drop_the_rest(&self) -> Result<(), Fault> {
        let vouched = self.vouched.load(Ordering::Acquire);
        match self.content_length() > vouched {
            true => self.resize(vouched),
            false => Ok(()),
        }
    }

    fn new(file: Box<dyn DiskFile>, group: GroupId, sync_every: u64, length: u64) -> Self {
        Self {
            file,
            group,
            sums: Mutex::new(Sums::new(group)),
            length: AtomicU64::new(length),
            vouched: AtomicU64::new(0),
            counting: Counting::default(),
            unsynced: AtomicU64::new(0),
            sync_every,
            syncing: Mutex::new(()),
            is_retired: AtomicBool::new(false),
            fault: FirstFault::default(),
        }
    }

    /// Length of the whole file.
    pub(super) fn file_length(&self) -> u64 {
        layout::file_length(self.content_length())
    }

    fn content_length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// The error that ended this file's use, if one did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// The same, for whoever outlives this file's use.
    pub(super) fn first_fault(&self) -> FirstFault {
        self.fault.clone()
    }

    /// Which of redb's two commits counts, by the header that was written last.
    pub(super) fn counting(&self) -> bool {
        self.counting.written()
    }

    /// What became of a commit before which this one counted.
    pub(super) fn outcome(&self, before: bool) -> Outcome {
        self.counting.outcome(before)
    }

    /// From now on nothing is written any more. Closing a database would tidy it, which a checkpoint that is opened
    /// as if after a crash does not need, and which one whose file is gone must not cost.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Ends this file's use: a sync that it depends on failed.
    pub(super) fn end(&self, error: io::Error) {
        let _ = self.fault.put(Fault::of_failed_sync(error));
    }

    fn check_usable(&self) -> io::Result<()> {
        match self.fault.get() {
            Some(fault) => Err(fault.to_io()),
            None => Ok(()),
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_retired.load(Ordering::Acquire) {
            return Err(io::Error::other("this checkpoint is closed"));
        }
        self.check_usable()
    }

    /// Keeps the first fault; every caller gets that one.
    fn keep<T>(&self, result: Result<T, Fault>) -> io::Result<T> {
        result.map_err(|fault| self.fault.put(fault).to_io())
    }

    fn header(&self) -> Result<Header, Fault> {
        let offset = layout::content(0);
        let mut sector = [0; SECTOR];
        self.fill(offset, &mut sector)?;
        Header::decode(self.group, &sector)
            .ok_or_else(|| Fault::corrupt(offset, "its header does not match its checksum"))
    }

    fn read_header(&self, out: &mut [u8]) -> Result<(), Fault> {
        let header = self.header()?;
        let bytes = header.bytes(out.len()).ok_or_else(|| misplaced("read"))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write_header(&self, bytes: &[u8]) -> Result<(), Fault> {
        let content = self.content_length();
        let header = Header::new(bytes, content).ok_or_else(|| misplaced("write"))?;
        self.vouch(&header)
    }

    fn vouch(&self, header: &Header) -> Result<(), Fault> {
        self.put(layout::content(0), &header.encode(self.group))?;
        self.vouched.store(header.content, Ordering::Release);
        self.counting.is_written(header.counting());
        Ok(())
    }

    fn read_blocks(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let mut block = first_block(offset, out.len()).ok_or_else(|| misplaced("read"))?;
        let mut rest = out;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at_mut(in_this_run(block, rest.len()));
            self.fill(layout::content(block), part)?;
            self.check_blocks(block, part)?;
            block += blocks_in(part.len());
            rest = behind;
        }
        Ok(())
    }

    fn check_blocks(&self, first: u64, bytes: &[u8]) -> Result<(), Fault> {
        for (block, bytes) in blocks(first, bytes) {
            let expected = self.sum(block)?;
            let offset = layout::content(block);
            if expected == 0 {
                return Err(Fault::corrupt(offset, "a block in use was never written"));
            }
            if expected != Sums::of(self.group, block, bytes) {
                return Err(Fault::corrupt(
                    offset,
                    "a block does not match its checksum",
                ));
            }
        }
        Ok(())
    }

    /// Writes whole blocks; says how many bytes really had to be written.
    fn write_blocks(&self, offset: u64, bytes: &[u8]) -> Result<usize, Fault> {
        let mut block = first_block(offset, bytes.len()).ok_or_else(|| misplaced("write"))?;
        let mut rest = bytes;
        let mut written = 0;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(in_this_run(block, rest.len()));
            if !self.is_in_place(block, part)? {
                self.put(layout::content(block), part)?;
                self.keep_sums(block, part)?;
                written += part.len();
            }
            block += blocks_in(part.len());
            rest = behind;
        }
        Ok(written)
    }

    /// Whether these bytes are what the blocks hold already. On its way to a commit redb touches every page of it once
    /// more, and so writes those again, unchanged, that had to leave its cache meanwhile: with it, half of all writes.
    ///
    /// SUBTLE: a checksum that is the same does not say that the bytes are. Only reading them does. And bytes that are
    /// the same need not be on the disk: what an earlier process wrote and could not sync is read back from the
    /// system's memory, which does not write it a second time. So only what was written through this handle counts; a
    /// sync of its own covers that, or has failed and ended it.
    fn is_in_place(&self, first: u64, bytes: &[u8]) -> Result<bool, Fault> {
        for (block, bytes) in blocks(first, bytes) {
            let kept = lock(&self.sums).of_written(block);
            if kept.is_none_or(|kept| kept != Sums::of(self.group, block, bytes)) {
                return Ok(false);
            }
        }
        let mut held = vec![0; bytes.len()];
        self.fill(layout::content(first), &mut held)?;
        Ok(held == bytes)
    }

    fn keep_sums(&self, first: u64, bytes: &[u8]) -> Result<(), Fault> {
        for (block, bytes) in blocks(first, bytes) {
            lock(&self.sums)
                .set(self.file.as_ref(), block, bytes)
                .map_err(|error| Fault::io("read", error))?;
        }
        Ok(())
    }

    /// The checksum of a block; 0 for one that was never written.
    fn sum(&self, block: u64) -> Result<u32, Fault> {
        lock(&self.sums)
            .get(self.file.as_ref(), block)
            .map_err(|error| Fault::io("read", error))
    }

    fn fill(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        read_exact_at(self.file.as_ref(), offset, out).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Fault::corrupt(offset, "the file ends too early");
            }
            Fault::io("read", error)
        })
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_at(offset, bytes);
        written.map_err(|error| Fault::io("write", error))
    }

    /// Counts bytes as written, and syncs when there are enough of them.
    fn sync_ahead(&self, bytes: usize) -> Result<(), Fault> {
        let unsynced = self.unsynced.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64;
        if unsynced < self.sync_every {
            return Ok(());
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), Fault> {
        let _one = lock(&self.syncing);
        self.unsynced.store(0, Ordering::Release);
        let counting = self.counting.written();
        lock(&self.sums)
            .write(self.file.as_ref())
            .map_err(|error| Fault::io("write", error))?;
        self.file.sync().map_err(Fault::of_failed_sync)?;
        self.counting.is_synced(counting);
        Ok(())
    }

    fn resize(&self, length: u64) -> Result<(), Fault> {
        if length < self.content_length() {
            self.cut(length)?;
        }
        self.file
            .set_length(layout::file_length(length))
            .map_err(|error| Fault::io("resize", error))?;
        self.length.store(length, Ordering::Release);
        Ok(())
    }

    /// Before the file is cut: the header no longer vouches for what goes, durably, and its checksums go too.
    fn cut(&self, length: u64) -> Result<(), Fault> {
        if length < self.vouched.load(Ordering::Acquire) {
            let mut header = self.header()?;
            header.content = length;
            self.vouch(&header)?;
            self.sync()?;
        }
        lock(&self.sums)
            .cut(self.file.as_ref(), length.div_ceil(BLOCK))
            .map_err(|error| Fault::io("resize", error))
    }
}

/// The first block of a range of whole blocks behind the header's; `None` for another range.
fn first_block(offset: u64, length: usize) -> Option<u64> {
    let is_whole = offset.is_multiple_of(BLOCK) && (length as u64).is_multiple_of(BLOCK);
    (is_whole && offset > 0).then_some(offset / BLOCK)
}

/// How many of the bytes from a block on lie in its run, one behind the other.
fn in_this_run(block: u64, bytes: usize) -> usize {
    let left = (RUN - block % RUN) * BLOCK;
    usize::try_from(left).map_or(bytes, |left| left.min(bytes))
}

/// Bytes cut into blocks, each with its number.
fn blocks(first: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    (first..).zip(bytes.chunks(BLOCK_BYTES))
}

const fn blocks_in(bytes: usize) -> u64 {
    bytes as u64 / BLOCK
}

fn misplaced(action: &'static str) -> Fault {
    let error = io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a range of whole blocks, nor the header",
    );
    Fault::io(action, error)
}

/// What is handed to redb, which wants to own it.
pub(super) struct Backend(pub(super) Arc<BlockFile>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint of {}", self.0.group)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.check_usable()?;
        Ok(self.0.content_length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.check_usable()?;
        let read = match offset {
            0 => self.0.read_header(out),
            _ => self.0.read_blocks(offset, out),
        };
        self.0.keep(read)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.check_writable()?;
        self.0.keep(self.0.resize(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.check_writable()?;
        self.0.keep(self.0.sync())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.check_writable()?;
        let written = match offset {
            0 => self.0.write_header(bytes).map(|()| bytes.len()),
            _ => self.0.write_blocks(offset, bytes),
        };
        self.0
            .keep(written.and_then(|bytes| self.0.sync_ahead(bytes)))
    }
}
