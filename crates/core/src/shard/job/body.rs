//! What a job has beside its header: in memory until a checkpoint has it, and on disk from then on.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::attempt::AttemptRecord;

/// What a job is given, and what it gives: the two that may be long, and that a checkpoint has in bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its payload.
    Payload,
    /// Its result.
    Result,
}

impl Part {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Payload, Self::Result];
}

/// What no rule reads: in memory while young, later in the checkpoint alone (see [`Stored`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobBody {
    /// What the worker gets. Let go of once the job is done or cancelled: nobody is given it any more.
    pub payload: Option<Bytes>,
    /// Attempts that ended and that no checkpoint has yet, oldest first. For people alone: rules go by
    /// [`Recent`](super::Recent).
    pub attempts: Vec<AttemptRecord>,
    /// The accepted result, once done.
    pub result: Option<Bytes>,
}

impl JobBody {
    pub(super) const fn is_empty(&self) -> bool {
        self.payload.is_none() && self.result.is_none() && self.attempts.is_empty()
    }

    /// A part of it.
    pub(in crate::shard) const fn part(&self, part: Part) -> Option<&Bytes> {
        match part {
            Part::Payload => self.payload.as_ref(),
            Part::Result => self.result.as_ref(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let attempts: usize = self.attempts.iter().map(AttemptRecord::bytes).sum();
        length(&self.payload) + length(&self.result) + attempts
    }
}

/// What of a job is in the checkpoint alone: its length in bytes, none for a part that is in memory or that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// The payload.
    pub payload: Option<Length>,
    /// The result.
    pub result: Option<Length>,
    /// Attempts that ended, as [`AttemptRecord::bytes`] counts them.
    pub attempts: Option<Length>,
}

/// A length in bytes, of four bytes also where there may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(NonZeroU32);

impl Length {
    /// A length; what is longer than four gigabytes counts as that.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let one_more = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(1);
        Self(NonZeroU32::new(one_more).unwrap_or(NonZeroU32::MIN))
    }

    /// The length in bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }

    /// Both together.
    fn and(self, more: usize) -> Self {
        Self::new(
            usize::try_from(self.get())
                .unwrap_or(usize::MAX)
                .saturating_add(more),
        )
    }
}

impl Stored {
    /// Whether nothing is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.payload.is_none() && self.result.is_none() && self.attempts.is_none()
    }

    /// Whether a part of it is there.
    #[must_use]
    pub const fn has(&self, part: Part) -> bool {
        match part {
            Part::Payload => self.payload.is_some(),
            Part::Result => self.result.is_some(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let parts = [self.payload, self.result, self.attempts];
        let lengths = parts.into_iter().flatten();
        lengths
            .map(|length| usize::try_from(length.get()).unwrap_or(usize::MAX))
            .sum()
    }
}

pub(super) fn evict_part(is_saved: bool, held: &mut Option<Bytes>, stored: &mut Option<Length>) {
    if let Some(part) = held.take_if(|_| is_saved) {
        *stored = Some(Length::new(part.len()));
    }
}

pub(super) fn evict_attempts(
    held: &mut Vec<AttemptRecord>,
    upto: u32,
    stored: &mut Option<Length>,
) {
    let saved = held.iter().filter(|attempt| attempt.number <= upto);
    let bytes: usize = saved.map(AttemptRecord::bytes).sum();
    held.retain(|attempt| attempt.number > upto);
    if bytes > 0 {
        *stored = Some(stored.unwrap_or(Length::new(0)).and(bytes));
    }
}
