//! Single fields, both ways: what every message is read and written with.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{Digest, FenceToken, Incarnation, JobId, ShardEpoch, Timestamp};
use prost::Message;

use crate::error::DecodeError;
use crate::store::v1;

/// The message that is being read, so that an error can name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct In(pub(crate) &'static str);

impl In {
    /// The whole message.
    pub(crate) fn message<M: Message + Default>(self, bytes: Bytes) -> Result<M, DecodeError> {
        M::decode(bytes).map_err(|source| self.malformed(source))
    }

    /// A field that every writer sets.
    pub(crate) fn required<T>(
        self,
        field: &'static str,
        value: Option<T>,
    ) -> Result<T, DecodeError> {
        value.ok_or(self.missing(field))
    }

    /// A message within this one that every writer sets.
    pub(crate) fn nested<M, T>(
        self,
        field: &'static str,
        value: Option<M>,
    ) -> Result<T, DecodeError>
    where
        T: TryFrom<M, Error = DecodeError>,
    {
        T::try_from(self.required(field, value)?)
    }

    /// A name with rules of its own.
    pub(crate) fn name<T>(self, field: &'static str, text: &str) -> Result<T, DecodeError>
    where
        T: FromStr<Err: Display>,
    {
        text.parse().map_err(|why| self.invalid(field, &why))
    }

    /// A name that may be absent.
    pub(crate) fn name_if_any<T>(
        self,
        field: &'static str,
        text: Option<&str>,
    ) -> Result<Option<T>, DecodeError>
    where
        T: FromStr<Err: Display>,
    {
        text.map(|text| self.name(field, text)).transpose()
    }

    /// A number that has fewer bits here than on disk.
    pub(crate) fn narrow<T>(self, field: &'static str, number: u32) -> Result<T, DecodeError>
    where
        T: TryFrom<u32, Error: Display>,
    {
        T::try_from(number).map_err(|why| self.invalid(field, &why))
    }

    pub(crate) fn job(self, field: &'static str, bytes: &[u8]) -> Result<JobId, DecodeError> {
        JobId::from_bytes(bytes).map_err(|why| self.invalid(field, &why))
    }

    pub(crate) fn digest(self, field: &'static str, bytes: &[u8]) -> Result<Digest, DecodeError> {
        Digest::try_from(bytes).map_err(|why| self.invalid(field, &why))
    }

    /// 128 random bits.
    pub(crate) fn bits(self, field: &'static str, bytes: &[u8]) -> Result<u128, DecodeError> {
        match bytes.try_into() {
            Ok(bytes) => Ok(u128::from_be_bytes(bytes)),
            Err(_) => Err(self.invalid(field, &format_args!("{} bytes, not 16", bytes.len()))),
        }
    }

    pub(crate) fn span(
        self,
        field: &'static str,
        span: Option<v1::Span>,
    ) -> Result<Duration, DecodeError> {
        let span = self.required(field, span)?;
        if span.nanos >= NANOS_PER_SECOND {
            return Err(self.invalid(field, &"a second or more of nanoseconds"));
        }
        Ok(Duration::new(span.seconds, span.nanos))
    }

    pub(crate) fn span_if_any(
        self,
        field: &'static str,
        span: Option<v1::Span>,
    ) -> Result<Option<Duration>, DecodeError> {
        span.map(|span| self.span(field, Some(span))).transpose()
    }

    /// One of the values of an enum; zero is refused where the value is matched.
    pub(crate) fn choice<E>(self, field: &'static str, value: i32) -> Result<E, DecodeError>
    where
        E: TryFrom<i32>,
    {
        let why = format_args!("{value} is not a value that this version knows");
        E::try_from(value).map_err(|_| self.invalid(field, &why))
    }

    /// Zero where an enum's value should be: no writer ever chose it.
    pub(crate) fn unspecified<T>(self, field: &'static str) -> Result<T, DecodeError> {
        Err(self.invalid(field, &"no value was chosen"))
    }

    pub(crate) fn missing(self, field: &'static str) -> DecodeError {
        DecodeError::Missing {
            message: self.0,
            field,
        }
    }

    pub(crate) fn invalid(self, field: &'static str, reason: &dyn Display) -> DecodeError {
        DecodeError::Invalid {
            message: self.0,
            field,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn malformed(self, source: prost::DecodeError) -> DecodeError {
        let message = self.0;
        DecodeError::Malformed { message, source }
    }

    /// The error for a message whose one field is of a kind that this version does not know. Protobuf skipped it, so
    /// its number is read from the bytes once more.
    pub(crate) fn unknown_kind(self, mut bytes: Bytes) -> DecodeError {
        match prost::decode_length_delimiter(&mut bytes) {
            // A field's key is its number and three bits of wire type, written as a length is.
            Ok(key) => DecodeError::UnknownKind {
                message: self.0,
                number: key >> 3,
            },
            Err(_) => self.missing("kind"),
        }
    }
}

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// The message as bytes, in one buffer of exactly its length.
pub(crate) fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

pub(crate) fn job(id: JobId) -> Bytes {
    Bytes::copy_from_slice(&id.to_bytes())
}

pub(crate) fn digest(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

pub(crate) fn bits(bits: u128) -> Bytes {
    Bytes::copy_from_slice(&bits.to_be_bytes())
}

pub(crate) fn text(name: &impl ToString) -> String {
    name.to_string()
}

pub(crate) fn text_if_any(name: Option<&impl ToString>) -> Option<String> {
    name.map(ToString::to_string)
}

// An option, since that is what protobuf makes of every message within another, here and for fences.
pub(crate) const fn span(span: Duration) -> Option<v1::Span> {
    Some(v1::Span {
        seconds: span.as_secs(),
        nanos: span.subsec_nanos(),
    })
}

pub(crate) fn span_if_any(value: Option<Duration>) -> Option<v1::Span> {
    value.and_then(span)
}

pub(crate) const fn stamp(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(crate) fn fence(fence: FenceToken) -> Option<v1::Fence> {
    Some(v1::Fence {
        incarnation: fence.incarnation().get().into(),
        epoch: fence.epoch().get(),
        sequence: fence.sequence(),
    })
}

impl TryFrom<v1::Fence> for FenceToken {
    type Error = DecodeError;

    fn try_from(fence: v1::Fence) -> Result<Self, DecodeError> {
        let incarnation = In("Fence").narrow("incarnation", fence.incarnation)?;
        Ok(Self::new(
            Incarnation::new(incarnation),
            ShardEpoch::new(fence.epoch),
            fence.sequence,
        ))
    }
}
