//! What payloads and results say: enough to tell, from either alone, which submit and which lease it belongs to.

use bytes::Bytes;
use leasehold_types::{Digest, FenceToken};
use sha2::{Digest as _, Sha256};

use crate::history::Number;

/// Which of the results that one lease may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    First,
    /// A second, different one under the same fence, which must not be accepted beside the first.
    Second,
}

impl Variant {
    pub(crate) const ALL: [Self; 2] = [Self::First, Self::Second];

    const fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// Most are short, some take several blocks of the disk.
fn filler(number: Number) -> usize {
    match number % 16 {
        0 => 9_000,
        1..=3 => 700,
        _ => 40,
    }
}

pub(crate) fn payload(number: Number) -> Bytes {
    filled(format!("{number} "), number)
}

/// Whether these are the bytes that a submit sent.
pub(crate) fn is_payload(number: Number, bytes: &[u8]) -> bool {
    payload(number) == bytes
}

/// The submit that a payload belongs to; none for one that is not ours.
pub(crate) fn number_in(payload: &[u8]) -> Option<Number> {
    let end = payload.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(&payload[..end]).ok()?.parse().ok()
}

pub(crate) fn result(number: Number, fence: FenceToken, variant: Variant) -> Bytes {
    filled(format!("{number} {fence} {} ", variant.word()), number / 8)
}

pub(crate) fn result_digest(number: Number, fence: FenceToken, variant: Variant) -> Digest {
    digest_of(&result(number, fence, variant))
}

/// The digest that a cluster shows of these bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

fn filled(text: String, number: Number) -> Bytes {
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len() + filler(number), b'.');
    bytes.into()
}

/// The key of a submit that has one.
pub(crate) fn key(number: Number) -> String {
    format!("submit-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_names_its_submit() {
        for number in [0, 1, 64, 4_000_000_000] {
            assert_eq!(number_in(&payload(number)), Some(number));
        }
        assert_eq!(number_in(b"hello"), None);
    }

    #[test]
    fn results_of_two_leases_or_variants_differ() {
        let fence = |text: &str| text.parse::<FenceToken>().unwrap();
        let one = result_digest(7, fence("f0.1.1"), Variant::First);
        assert_ne!(one, result_digest(7, fence("f0.1.2"), Variant::First));
        assert_ne!(one, result_digest(7, fence("f0.1.1"), Variant::Second));
        assert_ne!(one, result_digest(8, fence("f0.1.1"), Variant::First));
    }
}
