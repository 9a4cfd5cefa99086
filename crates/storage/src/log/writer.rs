//! The one writer of a log: takes what was submitted, writes it as one frame, syncs it, and answers.
//!
//! The order is the promise: nothing is answered before the sync that covers it; the next frame is not written before
//! that sync returned (`recover` relies on it); answers come in the order of submission. Whatever arrives during a
//! sync is the next frame, so the busier the log, the more one sync carries.
//!
//! The first error of a write or a sync is the end: everything waiting is told, and nothing is taken any more. After
//! a failed sync the kernel may have dropped the bytes, so that a second sync would succeed without them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::carry::{self, Carried};
use super::chores::{Chores, Tools};
use super::error::fault;
use super::format::{
    FRAME_HEAD, FrameHead, Place, Record, SEGMENT_HEAD, SegmentHead, encode_frame_head,
    encode_record, frame_span,
};
use super::ledger::Ledger;
use super::note::Span;
use super::recover::Recovered;
use super::segment::write_head;
use super::shared::{Queued, Shared};
use super::store::LogOptions;
use crate::disk::{Disk, DiskFile};

/// How often in the life of a segment it is tried to make the next one, while the disk has no room for it.
const TRIES_PER_SEGMENT: u64 = 8;

/// The file side of a [`SegmentedLog`](super::SegmentedLog). One of its drivers has to run, or nothing becomes
/// durable: [`run_blocking`](LogWriter::run_blocking) on a thread of its own, [`run`](LogWriter::run) as a task of a
/// simulation, or [`step`](LogWriter::step) by hand.
///
/// Dropping it before it has ended fails the log.
pub struct LogWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) chores: Chores,
    options: LogOptions,
    ledger: Ledger,
    tail: Tail,
    /// Bytes on the disk of all segments but the one in use.
    closed: BTreeMap<u64, u64>,
    frame: Vec<u8>,
    has_ended_well: bool,
}

/// The segment in use, and where the next frame goes.
struct Tail {
    number: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
    /// Bytes it takes on the disk.
    size: u64,
    next_sequence: u64,
    /// All frames up to this one are on the disk.
    synced: u64,
    /// Whether the last frame carries records and nothing written after it vouches for it.
    lacks_seal: bool,
    /// Whether something was written since the last sync.
    is_dirty: bool,
}

/// A record on its way, and what becomes of it once it is on the disk.
struct Outgoing {
    record: Record,
    place: Place,
    origin: Origin,
}

enum Origin {
    Submitted { ticket: u64 },
    Carried { from: Option<Place> },
}

/// A frame that was written and waits for its sync.
pub(super) struct Written {
    batch: Vec<Queued>,
    outgoing: Vec<Outgoing>,
}

impl LogWriter {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        ledger: Ledger,
        mut recovered: Recovered,
    ) -> Self {
        let number = recovered.active;
        let file = Arc::clone(&recovered.files[&number]);
        let size = recovered.sizes.remove(&number).unwrap_or(0);
        let tools = Tools::new(disk, options.fill(), recovered.note, Arc::clone(&shared));
        let writer = Self {
            shared,
            chores: Chores::new(tools, recovered.ready),
            options,
            ledger,
            tail: Tail {
                number,
                file,
                end: recovered.end,
                size,
                next_sequence: recovered.next_sequence,
                synced: recovered.next_sequence - 1,
                lacks_seal: recovered.end > SEGMENT_HEAD,
                is_dirty: false,
            },
            closed: recovered.sizes,
            frame: Vec::new(),
            has_ended_well: false,
        };
        writer.publish_size();
        writer
    }

    /// Writes, syncs and answers one batch; false when there was nothing to do. For callers with a loop of their own.
    ///
    /// # Errors
    /// The first error of the disk ends the log; every later call gets an error too.
    pub fn step(&mut self) -> io::Result<bool> {
        let Some(written) = self.write_next()? else {
            self.seal()?;
            return Ok(false);
        };
        self.sync(written)?;
        Ok(true)
    }

    /// Writes what has been submitted as one frame. It is not durable yet.
    pub(super) fn write_next(&mut self) -> io::Result<Option<Written>> {
        self.shared.check()?;
        let mut batch = self.shared.take(self.options.batch_bytes as u64);
        let carried = match self.carry() {
            Ok(carried) => carried,
            Err(error) => return Err(self.fail(error, batch)),
        };
        if batch.is_empty() && carried.is_empty() {
            return Ok(None);
        }
        let mut outgoing = outgoing(&mut batch, carried);
        match self.write_frame(&mut outgoing) {
            Ok(()) => Ok(Some(Written { batch, outgoing })),
            Err(error) => Err(self.fail(error, batch)),
        }
    }

    /// Makes a frame durable and answers those who wait for it.
    pub(super) fn sync(&mut self, written: Written) -> io::Result<()> {
        let Written { batch, outgoing } = written;
        if let Err(error) = self.sync_tail() {
            return Err(self.fail(error, batch));
        }
        self.settle(&outgoing);
        self.shared.answer(batch);
        self.housekeep();
        Ok(())
    }

    /// Old entries to write forward with this batch.
    fn carry(&self) -> io::Result<Vec<Carried>> {
        match carry::choose(&self.ledger, &self.closed) {
            Some(segment) => carry::collect(
                &self.ledger,
                &self.shared,
                segment,
                self.options.carry_bytes,
            ),
            None => Ok(Vec::new()),
        }
    }

    /// Writes records as the next frame, and fills in their places. No records, no frame.
    fn write_frame(&mut self, outgoing: &mut [Outgoing]) -> io::Result<()> {
        if outgoing.is_empty() {
            return Ok(());
        }
        let body: usize = outgoing.iter().map(|outgoing| outgoing.record.size()).sum();
        let span = frame_span(body as u64);
        let is_full = self.tail.end + span > self.options.segment_bytes;
        if self.tail.end > SEGMENT_HEAD && (is_full || self.is_outdone()) {
            self.roll()?;
        }
        self.encode(outgoing, body)?;
        self.write_encoded()?;
        self.tail.lacks_seal = true;
        Ok(())
    }

    /// Whether a filled segment waits while the one in use grows block by block: the log's first, or one that was made
    /// when the disk had no room. Such a one fails as soon as the disk is full, and is slower to sync.
    fn is_outdone(&self) -> bool {
        self.tail.size < self.options.segment_bytes && self.shared.state().ready_bytes > 0
    }

    fn encode(&mut self, outgoing: &mut [Outgoing], body: usize) -> io::Result<()> {
        let tail = &self.tail;
        let head = FrameHead {
            sequence: tail.next_sequence,
            synced: tail.synced,
            body: u32::try_from(body).map_err(io::Error::other)?,
            records: u32::try_from(outgoing.len()).map_err(io::Error::other)?,
        };
        // One operation of rare size must not keep its memory for good.
        self.frame.clear();
        self.frame.shrink_to(2 * self.options.batch_bytes);
        self.frame
            .extend(encode_frame_head(head, tail.number, tail.end));
        for Outgoing { record, place, .. } in outgoing {
            let offset = tail.end + self.frame.len() as u64;
            *place = Place {
                segment: tail.number,
                offset: u32::try_from(offset).map_err(io::Error::other)?,
                length: u32::try_from(record.content.len()).map_err(io::Error::other)?,
            };
            encode_record(&mut self.frame, record, *place);
        }
        let span = frame_span((self.frame.len() - FRAME_HEAD) as u64);
        self.frame
            .resize(usize::try_from(span).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn write_encoded(&mut self) -> io::Result<()> {
        let written = self.tail.file.write_at(self.tail.end, &self.frame);
        written.map_err(fault("write to", self.tail.number))?;
        self.tail.end += self.frame.len() as u64;
        self.tail.size = self.tail.size.max(self.tail.end);
        self.tail.next_sequence += 1;
        self.tail.is_dirty = true;
        self.shared.state().health.bytes_written += self.frame.len() as u64;
        Ok(())
    }

    /// Goes on in the next segment. All that is in the last one must be on the disk by then, a seal included:
    /// from now on nothing in it may be missing.
    fn roll(&mut self) -> io::Result<()> {
        self.sync_tail()?;
        let number = self.tail.number + 1;
        let next = self.chores.take_next(self.span_to(number));
        let file = next.map_err(fault("make", number))?;
        let first_sequence = self.tail.next_sequence;
        let head = SegmentHead {
            number,
            first_sequence,
        };
        let begun = write_head(file.as_ref(), head).and_then(|()| file.length());
        let size = begun.map_err(fault("begin", number))?;
        let mut state = self.shared.state();
        state.files.insert(number, Arc::clone(&file));
        // At once, or a look at the health in between would find no reserve at all.
        state.ready_bytes = 0;
        state.health.spare_bytes = size.saturating_sub(SEGMENT_HEAD);
        drop(state);
        self.closed.insert(self.tail.number, self.tail.size);
        self.tail = Tail {
            number,
            file,
            end: SEGMENT_HEAD,
            size,
            next_sequence: first_sequence,
            synced: self.tail.synced,
            lacks_seal: false,
            is_dirty: true,
        };
        Ok(())
    }

    /// What is noted when a segment was made: up to here everything is on the disk.
    fn span_to(&self, number: u64) -> Span {
        Span {
            last: number,
            synced: self.tail.synced,
            ..Span::default()
        }
    }

    /// Syncs what was written since the last sync, if anything was.
    fn sync_tail(&mut self) -> io::Result<()> {
        if !self.tail.is_dirty {
            return Ok(());
        }
        let synced = self.tail.file.sync();
        synced.map_err(fault("sync", self.tail.number))?;
        self.tail.is_dirty = false;
        self.tail.synced = self.tail.next_sequence - 1;
        self.shared.state().health.syncs += 1;
        Ok(())
    }

    /// Takes note, for readers and in the ledger, of what is on the disk now.
    fn settle(&mut self, outgoing: &[Outgoing]) {
        let mut state = self.shared.state();
        for Outgoing {
            record,
            place,
            origin,
        } in outgoing
        {
            let key = record.key;
            match origin {
                Origin::Submitted { ticket } => state.index.stored(key, *ticket, *place),
                Origin::Carried { from: Some(from) } => {
                    state.index.moved(key.group, key.index, *from, *place);
                }
                Origin::Carried { from: None } => {}
            }
        }
        drop(state);
        for Outgoing { record, place, .. } in outgoing {
            self.ledger.stored(record.key, *place);
        }
    }

    /// Lets segments go that nothing needs, and has the next one made in time.
    fn housekeep(&mut self) {
        let active = self.tail.number;
        let first = self
            .ledger
            .oldest()
            .map_or(active, |oldest| oldest.min(active));
        if self
            .closed
            .keys()
            .next()
            .is_some_and(|oldest| *oldest < first)
        {
            self.closed = self.closed.split_off(&first);
            let mut state = self.shared.state();
            state.files = state.files.split_off(&first);
            drop(state);
            self.chores.release(first);
        }
        let again_at = self.tail.end + self.options.segment_bytes / TRIES_PER_SEGMENT;
        let next = self.span_to(active + 1);
        self.chores.prepare(next, self.tail.end, again_at);
        self.publish_size();
    }

    fn publish_size(&self) {
        let closed: u64 = self.closed.values().sum();
        let unused = self.tail.size.saturating_sub(self.tail.end);
        let mut state = self.shared.state();
        state.health.disk_bytes = closed + self.tail.size + self.chores.prepared_bytes();
        state.health.spare_bytes = unused;
    }

    /// Vouches for the last frame, when there is nothing else to write. Not synced: it goes to the disk with the next
    /// frame, or when the system writes back; what it says is true either way.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        let room = self.options.segment_bytes.saturating_sub(self.tail.end);
        if !self.tail.lacks_seal || room < frame_span(0) {
            return Ok(());
        }
        self.tail.lacks_seal = false;
        let sealed = self.encode(&mut [], 0).and_then(|()| self.write_encoded());
        sealed.map_err(|error| self.fail(error, Vec::new()))
    }

    /// The last words of a log that was closed: a seal, synced.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.seal()?;
        if let Err(error) = self.sync_tail() {
            return Err(self.fail(error, Vec::new()));
        }
        self.chores.note_end(self.tail.synced);
        self.has_ended_well = true;
        Ok(())
    }

    /// The end of the log: says why, to everyone who waits.
    fn fail(&self, error: io::Error, batch: Vec<Queued>) -> io::Error {
        tracing::error!(%error, segment = self.tail.number, "the log has failed");
        self.shared.fail(&error, batch);
        error
    }
}

/// The records of a batch and those carried with it, in the order in which they are written; their places are not
/// known yet.
fn outgoing(batch: &mut [Queued], carried: Vec<Carried>) -> Vec<Outgoing> {
    let nowhere = Place {
        segment: 0,
        offset: 0,
        length: 0,
    };
    let mut outgoing = Vec::new();
    for work in batch
        .iter_mut()
        .filter_map(|queued| queued.work.as_mut().ok())
    {
        for (record, ticket) in std::mem::take(&mut work.records)
            .into_iter()
            .zip(work.ticket..)
        {
            outgoing.push(Outgoing {
                record,
                place: nowhere,
                origin: Origin::Submitted { ticket },
            });
        }
    }
    outgoing.extend(
        carried
            .into_iter()
            .map(|Carried { record, from }| Outgoing {
                record,
                place: nowhere,
                origin: Origin::Carried { from },
            }),
    );
    outgoing
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.chores.stop_helper();
        if !self.has_ended_well {
            let stopped = io::Error::other("its writer has stopped");
            self.shared.fail(&stopped, Vec::new());
        }
    }
}
