//! Names that people choose: regions, tenants, queues, workers and idempotency keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Why a text cannot serve as a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{kind} is empty: give 1 to {max} characters")]
    Empty {
        /// What was being named.
        kind: &'static str,
        /// The longest that is taken, in bytes.
        max: usize,
    },
    /// More was given than is kept.
    #[error("{kind} has {length} bytes, at most {max} are taken")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// How long the text was, in bytes.
        length: usize,
        /// The longest that is taken, in bytes.
        max: usize,
    },
    /// A character that would not survive a log line, a metric label or a URL.
    #[error("{kind} has the character {character:?}: {allowed}")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The first character refused.
        character: char,
        /// What is taken.
        allowed: &'static str,
    },
}

fn check(
    kind: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: fn(char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind, max });
    }
    if text.len() > max {
        let length = text.len();
        return Err(NameError::TooLong { kind, length, max });
    }
    match text.chars().find(|c| !is_allowed(*c)) {
        Some(character) => Err(NameError::Character {
            kind,
            character,
            allowed,
        }),
        None => Ok(()),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic()
}

const PLAIN: &str = "use a-z, 0-9, dash, underscore and dot";
const VISIBLE: &str = "use printable ASCII without spaces";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr, $allowed:expr, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name after checking its length and characters.
            ///
            /// # Errors
            /// [`NameError`] says which rule the text broke.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check($kind, text, $max, $allowed, $is_allowed)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// A failure domain, such as `eu-west`.
    RegionName, "region name", limits::NAME_BYTES, PLAIN, is_plain
);
name!(
    /// Whose jobs these are; fairness is between tenants.
    TenantName, "tenant name", limits::NAME_BYTES, PLAIN, is_plain
);
name!(
    /// What users call a stream of jobs with one policy, such as `chat`.
    QueueName, "queue name", limits::NAME_BYTES, PLAIN, is_plain
);
name!(
    /// Which worker, as operators know it, such as `gpu-17.eu`.
    WorkerName, "worker name", limits::NAME_BYTES, PLAIN, is_plain
);
name!(
    /// A caller's own key that makes a repeated request the same request. Scoped to a tenant and queue.
    IdempotencyKey, "idempotency key", limits::IDEMPOTENCY_KEY_BYTES, VISIBLE, is_visible
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_outside_its_rules_is_refused_with_the_rule() {
        assert!(matches!(QueueName::new(""), Err(NameError::Empty { .. })));
        assert!(matches!(
            QueueName::new(&"x".repeat(limits::NAME_BYTES + 1)),
            Err(NameError::TooLong { .. })
        ));
        let error = QueueName::new("a b").unwrap_err().to_string();
        assert!(error.contains("' '") && error.contains("a-z"), "{error}");
        assert!(IdempotencyKey::new("order/17?x=Y").is_ok());
    }
}
