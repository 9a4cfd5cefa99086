//! What the tests of the log share: submitting and waiting, and looking at everything that a log shows.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use leasehold_storage::{Bounds, LogOptions, LogStore, LogWriter, Operation, Slot};
use leasehold_types::GroupId;

pub(crate) fn group(number: u32) -> GroupId {
    GroupId::new(number)
}

/// Segments so small that a few entries fill one.
pub(crate) fn small_segments() -> LogOptions {
    LogOptions {
        segment_bytes: 16 * 1024,
        zero_fill: true,
        cache_bytes: 4 * 1024,
        carry_bytes: 4 * 1024,
        ..LogOptions::default()
    }
}

/// Submits; the receiver gets what `done` was called with.
pub(crate) fn submit(log: &dyn LogStore, operation: Operation) -> Receiver<io::Result<()>> {
    let (sender, receiver) = channel();
    log.submit(operation, Box::new(move |result| drop(sender.send(result))));
    receiver
}

/// Submits and waits for the answer.
pub(crate) fn perform(log: &dyn LogStore, operation: Operation) -> io::Result<()> {
    submit(log, operation)
        .recv()
        .expect("every submit is answered")
}

pub(crate) fn append(group: GroupId, first: u64, contents: &[&str]) -> Operation {
    let entry = |(at, text): (usize, &&str)| {
        let content = Bytes::copy_from_slice(text.as_bytes());
        (first.saturating_add(at as u64), content)
    };
    let entries = contents.iter().enumerate().map(entry).collect();
    Operation::Append { group, entries }
}

/// One entry of a given length.
pub(crate) fn append_long(group: GroupId, index: u64, length: usize) -> Operation {
    let byte = u8::try_from(index % 251).expect("below 251");
    let entries = vec![(index, vec![byte; length].into())];
    Operation::Append { group, entries }
}

pub(crate) fn truncate(group: GroupId, after: Option<u64>) -> Operation {
    Operation::Truncate { group, after }
}

pub(crate) fn purge(group: GroupId, upto: u64) -> Operation {
    let mark = format!("mark of {upto}").into();
    Operation::Purge { group, upto, mark }
}

pub(crate) fn put(group: GroupId, slot: Slot, value: &'static str) -> Operation {
    let value = Bytes::from_static(value.as_bytes());
    Operation::Put { group, slot, value }
}

/// All that a log shows of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) bounds: Bounds,
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    pub(crate) entries: Vec<(u64, Bytes)>,
    /// What may go, for some numbers of bytes kept.
    pub(crate) surplus: Vec<Option<u64>>,
}

const KEPT: [u64; 6] = [0, 1, 300, 2000, 10_000, u64::MAX];

pub(crate) fn view(log: &dyn LogStore, group: GroupId) -> io::Result<View> {
    Ok(View {
        bounds: log.bounds(group),
        vote: log.slot(group, Slot::Vote),
        committed: log.slot(group, Slot::Committed),
        entries: log.entries(group, 0..u64::MAX, usize::MAX)?,
        surplus: KEPT.map(|kept| log.surplus(group, kept)).to_vec(),
    })
}

pub(crate) fn texts(log: &dyn LogStore, group: GroupId) -> Vec<(u64, String)> {
    let entries = log.entries(group, 0..u64::MAX, usize::MAX).unwrap();
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    entries
        .into_iter()
        .map(|(index, bytes)| (index, text(bytes)))
        .collect()
}

/// Runs a writer on a thread of its own.
pub(crate) fn spawn(writer: LogWriter) -> JoinHandle<io::Result<()>> {
    let thread = std::thread::Builder::new().name("log-writer".to_owned());
    thread.spawn(move || writer.run_blocking()).unwrap()
}
