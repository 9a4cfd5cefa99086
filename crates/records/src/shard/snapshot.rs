//! The whole state of a shard, as a run of small messages.
//!
//! Head first, then policies, jobs and what is remembered, as many as the head says, each with its length in front.
//! A shard may hold millions of jobs: written and read one by one, there is never a second copy of all of them.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use leasehold_core::shard::ShardState;
use leasehold_core::shard::job::Job;
use leasehold_core::shard::state::{Owner, PlacedPolicy, Remembered, ShardHead};
use leasehold_types::{BootCount, Incarnation, NodeId, QueueName, ShardEpoch};
use prost::Message;

use crate::error::DecodeError;
use crate::field::{In, digest, job, stamp, text, text_if_any};
use crate::store::v1;

/// How this version writes a snapshot, and the newest that it reads.
const FORMAT: u32 = 1;

const HEAD: In = In("ShardHead");
const POLICY: In = In("PlacedPolicy");
const JOB: In = In("Job");
const REMEMBERED: In = In("Remembered");

/// The bytes of a state, for a snapshot.
#[must_use]
pub fn encode_state(state: &ShardState) -> Bytes {
    let mut out = BytesMut::new();
    append(&mut out, &head(state));
    let policies = state.policies();
    policies.for_each(|(queue, placed)| append(&mut out, &policy(queue, placed)));
    let jobs = state.jobs();
    jobs.for_each(|job| append(&mut out, &v1::Job::from(job)));
    let remembered = state.remembered();
    remembered.for_each(|entry| append(&mut out, &v1::Remembered::from(entry)));
    out.freeze()
}

/// Reads back what [`encode_state`] gave. Every job gets bytes of its own: as slices of `bytes`, the payloads of a few
/// old jobs would keep a whole snapshot in memory for months.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged, a newer version's, or break a rule that every state keeps.
pub fn decode_state(mut bytes: Bytes) -> Result<ShardState, DecodeError> {
    let head = read_head(&mut bytes)?;
    let mut policies = Section::take(POLICY, &mut bytes, head.policies)?;
    let mut jobs = Section::take(JOB, &mut bytes, head.jobs)?;
    let mut remembered = Section::take(REMEMBERED, &mut bytes, head.remembered)?;
    if bytes.has_remaining() {
        let (message, bytes) = (REMEMBERED.0, bytes.len());
        return Err(DecodeError::Surplus { message, bytes });
    }
    let state = ShardState::from_parts(
        head.try_into()?,
        policies
            .read::<v1::PlacedPolicy, Placed>()
            .map(|placed| (placed.queue, placed.policy)),
        jobs.read::<v1::Job, Job>(),
        remembered.read::<v1::Remembered, Remembered>(),
    );
    // A record that could not be read ended its section early: that error came first, whatever it led to.
    [policies, jobs, remembered]
        .into_iter()
        .try_for_each(Section::finish)?;
    Ok(state?)
}

fn append(out: &mut BytesMut, message: &impl Message) {
    message
        .encode_length_delimited(out)
        .expect("a BytesMut grows as needed");
}

/// Cuts the next message, without its length, from the front.
fn cut(at: In, bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let length = prost::decode_length_delimiter(&mut *bytes).map_err(|e| at.malformed(e))?;
    if length > bytes.len() {
        let why = format_args!("{length} bytes are announced, {} are left", bytes.len());
        return Err(at.invalid("length", &why));
    }
    Ok(bytes.split_to(length))
}

/// All messages of one kind. Where one cannot be read, the section ends and keeps the error.
struct Section {
    at: In,
    bytes: Bytes,
    error: Option<DecodeError>,
}

impl Section {
    /// Cuts so many messages from the front, going by their lengths alone.
    fn take(at: In, bytes: &mut Bytes, count: u64) -> Result<Self, DecodeError> {
        let mut rest = bytes.clone();
        for _ in 0..count {
            cut(at, &mut rest)?;
        }
        let section = bytes.split_to(bytes.len() - rest.len());
        Ok(Self {
            at,
            bytes: section,
            error: None,
        })
    }

    fn read<M, T>(&mut self) -> impl Iterator<Item = T>
    where
        M: Message + Default,
        T: TryFrom<M, Error = DecodeError>,
    {
        std::iter::from_fn(move || {
            let next = self.next::<M>()?;
            let value = next.and_then(TryInto::try_into);
            value.map_err(|error| self.error = Some(error)).ok()
        })
    }

    fn next<M: Message + Default>(&mut self) -> Option<Result<M, DecodeError>> {
        let at = self.at;
        let is_over = self.bytes.is_empty() || self.error.is_some();
        (!is_over).then(|| {
            let message = cut(at, &mut self.bytes)?;
            at.message(Bytes::copy_from_slice(&message))
        })
    }

    fn finish(self) -> Result<(), DecodeError> {
        self.error.map_or(Ok(()), Err)
    }
}

fn head(state: &ShardState) -> v1::ShardHead {
    let head = state.head();
    v1::ShardHead {
        format: FORMAT,
        incarnation: head.incarnation.get().into(),
        epoch: head.epoch.get(),
        owner: head.owner.map(Into::into),
        stamp_us: head.stamp.as_micros(),
        granted: head.granted,
        arrivals: head.arrivals,
        policies: count(state.policies().len()),
        jobs: count(state.jobs().len()),
        remembered: count(state.remembered().len()),
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a length has at most 64 bits")
}

fn read_head(bytes: &mut Bytes) -> Result<v1::ShardHead, DecodeError> {
    let head: v1::ShardHead = HEAD.message(cut(HEAD, bytes)?)?;
    match head.format {
        FORMAT => Ok(head),
        0 => Err(HEAD.missing("format")),
        format => Err(DecodeError::UnknownFormat {
            message: HEAD.0,
            format,
            known: FORMAT,
        }),
    }
}

impl TryFrom<v1::ShardHead> for ShardHead {
    type Error = DecodeError;

    fn try_from(head: v1::ShardHead) -> Result<Self, DecodeError> {
        Ok(Self {
            incarnation: Incarnation::new(HEAD.narrow("incarnation", head.incarnation)?),
            epoch: ShardEpoch::new(head.epoch),
            owner: head.owner.map(Into::into),
            stamp: stamp(head.stamp_us),
            granted: head.granted,
            arrivals: head.arrivals,
        })
    }
}

impl From<Owner> for v1::ShardOwner {
    fn from(owner: Owner) -> Self {
        Self {
            node: owner.node.get(),
            boot: owner.boot.get(),
        }
    }
}

impl From<v1::ShardOwner> for Owner {
    fn from(owner: v1::ShardOwner) -> Self {
        Self {
            node: NodeId::new(owner.node),
            boot: BootCount::new(owner.boot),
        }
    }
}

/// A policy with the queue that it is for.
struct Placed {
    queue: QueueName,
    policy: PlacedPolicy,
}

fn policy(queue: &QueueName, placed: &PlacedPolicy) -> v1::PlacedPolicy {
    v1::PlacedPolicy {
        queue: text(queue),
        policy: Some(placed.policy.as_ref().into()),
        index: placed.index,
    }
}

impl TryFrom<v1::PlacedPolicy> for Placed {
    type Error = DecodeError;

    fn try_from(placed: v1::PlacedPolicy) -> Result<Self, DecodeError> {
        Ok(Self {
            queue: POLICY.name("queue", &placed.queue)?,
            policy: PlacedPolicy {
                policy: Arc::new(POLICY.nested("policy", placed.policy)?),
                index: placed.index,
            },
        })
    }
}

impl From<&Remembered> for v1::Remembered {
    fn from(entry: &Remembered) -> Self {
        Self {
            job: job(entry.job),
            queue: text(&entry.queue),
            tenant: text(&entry.tenant),
            key: text_if_any(entry.key.as_ref()),
            digest: digest(entry.digest),
            forget_at_us: entry.forget_at.as_micros(),
        }
    }
}

impl TryFrom<v1::Remembered> for Remembered {
    type Error = DecodeError;

    fn try_from(entry: v1::Remembered) -> Result<Self, DecodeError> {
        Ok(Self {
            job: REMEMBERED.job("job", &entry.job)?,
            queue: REMEMBERED.name("queue", &entry.queue)?,
            tenant: REMEMBERED.name("tenant", &entry.tenant)?,
            key: REMEMBERED.name_if_any("key", entry.key.as_deref())?,
            digest: REMEMBERED.digest("digest", &entry.digest)?,
            forget_at: stamp(entry.forget_at_us),
        })
    }
}
