//! SHA-256 of payloads and results, computed once, at the edge.

use leasehold_types::Digest;
use sha2::{Digest as _, Sha256};

/// The digest of some content.
pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::new(Sha256::digest(content).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_sha_256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b"").to_string(), empty);
    }
}
