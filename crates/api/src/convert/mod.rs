//! Between wire messages and the values that `core` decides on, one file per concept.
//!
//! Plain pairs are `From` and `TryFrom`; what needs more than the message (a digest that the caller computed, the
//! shard clock's stamp) is a function. Towards the wire nothing fails. From the wire every failure is a
//! [`ConvertError`] that names the field and the bound. Spans are whole milliseconds on the wire: ages are rounded
//! down, waits are rounded up, so that nobody comes back too early and a short wait never reads as "not known".

pub mod admin;
pub mod jobs;
pub mod labels;
pub mod nodes;
pub mod policy;
pub mod submit;
pub mod view;
pub mod words;
pub mod workers;
pub mod writes;

mod error;
mod spans;

pub use error::{ConvertError, Malformed};
pub(crate) use spans::{if_given, ms_up};

use std::str::FromStr;

use leasehold_types::{Digest, FenceToken, JobId, SessionId};

/// Parses a field that has to be there.
fn parsed<T>(field: &'static str, text: &str) -> Result<T, ConvertError>
where
    T: FromStr,
    T::Err: Into<error::Malformed>,
{
    if text.is_empty() {
        return Err(ConvertError::Missing { field });
    }
    text.parse()
        .map_err(|error: T::Err| ConvertError::Malformed {
            field,
            source: error.into(),
        })
}

/// Parses a field whose empty text means that nothing was given.
fn parsed_if_given<T>(field: &'static str, text: &str) -> Result<Option<T>, ConvertError>
where
    T: FromStr,
    T::Err: Into<error::Malformed>,
{
    if text.is_empty() {
        return Ok(None);
    }
    parsed(field, text).map(Some)
}

/// The job id of a request.
///
/// # Errors
/// When it is missing or malformed.
pub fn job_id(text: &str) -> Result<JobId, ConvertError> {
    parsed("job_id", text)
}

/// The fence token of a worker's write.
///
/// # Errors
/// When it is missing or malformed.
pub fn fence(text: &str) -> Result<FenceToken, ConvertError> {
    parsed("fence", text)
}

/// The session of a worker's request.
///
/// # Errors
/// When it is missing or malformed.
pub fn session(text: &str) -> Result<SessionId, ConvertError> {
    parsed("session", text)
}

/// The digest of some content: the one computed here where there is one, else the one given.
fn agreed_digest(
    field: &'static str,
    given: &[u8],
    computed: Option<Digest>,
) -> Result<Digest, ConvertError> {
    match (given.is_empty(), computed) {
        (true, Some(computed)) => Ok(computed),
        (true, None) => Err(ConvertError::Missing { field }),
        (false, None) => digest(field, given),
        (false, Some(computed)) if digest(field, given)? == computed => Ok(computed),
        (false, Some(computed)) => Err(ConvertError::OtherDigest { field, computed }),
    }
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, ConvertError> {
    Digest::try_from(bytes).map_err(|error| ConvertError::Malformed {
        field,
        source: error.into(),
    })
}

/// Refuses more than `most` of something.
fn at_most(
    field: &'static str,
    given: usize,
    most: usize,
    unit: &'static str,
) -> Result<(), ConvertError> {
    if given <= most {
        return Ok(());
    }
    Err(ConvertError::OverLimit {
        field,
        given: u64::try_from(given).unwrap_or(u64::MAX),
        most: u64::try_from(most).unwrap_or(u64::MAX),
        unit,
    })
}

/// The first bytes of a text, at most so many, cut between characters.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("aé".to_owned(), 2), "a");
        assert_eq!(cut("aé".to_owned(), 3), "aé");
        assert_eq!(cut("short".to_owned(), 100), "short");
    }

    #[test]
    fn digest_that_differs_from_the_content_is_refused() {
        let (ours, theirs) = (Digest::new([1; 32]), Digest::new([2; 32]));
        assert_eq!(agreed_digest("digest", &[], Some(ours)), Ok(ours));
        assert_eq!(agreed_digest("digest", theirs.as_bytes(), None), Ok(theirs));
        assert!(matches!(
            agreed_digest("digest", theirs.as_bytes(), Some(ours)),
            Err(ConvertError::OtherDigest {
                field: "digest",
                ..
            })
        ));
        assert!(matches!(
            agreed_digest("digest", &[], None),
            Err(ConvertError::Missing { field: "digest" })
        ));
        assert!(agreed_digest("digest", &[1, 2, 3], Some(ours)).is_err());
    }

    #[test]
    fn missing_and_malformed_fields_are_named() {
        assert!(job_id("").unwrap_err().to_string().contains("job_id"));
        let error = fence("nonsense").unwrap_err().to_string();
        assert!(
            error.contains("fence") && error.contains("f0.7.42"),
            "{error}"
        );
    }
}
