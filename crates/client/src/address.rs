//! Where a node can be reached.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `host:port` of a node. A leading `http://` and a trailing slash are taken and dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `host:port`.
    #[error("malformed endpoint {0:?}: expected host:port or http://host:port")]
    Malformed(String),
    /// Plain HTTP/2 is all that the default connector speaks.
    #[error("endpoint {0:?} asks for TLS: give host:port, and a connector that speaks TLS")]
    Tls(String),
}

impl Address {
    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `http://host:port`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}", self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shown = || text.chars().take(128).collect();
        if text.starts_with("https://") {
            return Err(AddressError::Tls(shown()));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) =
            (bare.rsplit_once(':')).ok_or_else(|| AddressError::Malformed(shown()))?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_host = host
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'@'));
        if host.is_empty() || !is_host || !is_port {
            return Err(AddressError::Malformed(shown()));
        }
        Ok(Self(bare.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_slash_are_dropped() {
        for text in ["eu:7101", "http://eu:7101", "http://eu:7101/"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.as_str(), "eu:7101");
            assert_eq!(address.uri(), "http://eu:7101");
        }
        assert!("[::1]:7101".parse::<Address>().is_ok());
    }

    #[test]
    fn anything_else_is_refused_with_the_right_form() {
        for text in [
            "",
            "eu",
            ":7101",
            "eu:",
            "eu:0",
            "eu:port",
            "ftp://eu:1",
            "a b:1",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains("host:port"), "{text}: {error}");
        }
        let tls = "https://eu:7101".parse::<Address>().unwrap_err();
        assert!(matches!(tls, AddressError::Tls(_)));
    }
}
