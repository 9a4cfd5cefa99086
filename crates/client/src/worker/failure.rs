//! How a handler says that it failed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use leasehold_core::shard::command::FailureClass;

/// A failed attempt: what kind of failure, and what people should know. The kind decides what follows.
///
/// Any error turns into a transient failure with `?`, its causes included. (This type is no `Error` itself: that
/// would forbid the conversion.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkError {
    pub(super) class: FailureClass,
    pub(super) message: String,
    pub(super) detail: Bytes,
    pub(super) retry_after: Option<Duration>,
}

impl WorkError {
    /// A failure of this kind.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            detail: Bytes::new(),
            retry_after: None,
        }
    }

    /// May work next time: retried with backoff, up to the queue's attempts.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, message)
    }

    /// Will fail every time: a dead letter at once.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, message)
    }

    /// Refused by a content or usage policy: a dead letter at once.
    pub fn policy(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Policy, message)
    }

    /// The input does not fit the model: a dead letter at once.
    pub fn context_overflow(message: impl Into<String>) -> Self {
        Self::new(FailureClass::ContextOverflow, message)
    }

    /// A budget of tokens, cost or calls is used up: a dead letter at once.
    pub fn budget(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Budget, message)
    }

    /// Well-formed and wrong: retried like a transient failure.
    pub fn semantic(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Semantic, message)
    }

    /// Not the job's fault, such as a model server that is down: retried, and not counted as an attempt.
    pub fn infrastructure(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Infrastructure, message)
    }

    /// Adds more to read, such as the tail of stderr. The last 8 KiB are kept.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Bytes>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// Asks for a wait before the next try; taken when longer than the backoff.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        self.class
    }

    /// What people should know.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Error> From<E> for WorkError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::transient(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> Result<u32, WorkError> {
        Ok("seven".parse::<u32>()?)
    }

    #[test]
    fn any_error_becomes_a_transient_failure() {
        let error = read().unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient);
        assert!(error.message().contains("invalid digit"), "{error}");
    }

    #[test]
    fn what_is_added_is_kept() {
        let error = WorkError::policy("refused")
            .with_detail("why")
            .retry_after(Duration::from_secs(3));
        assert_eq!(error.class(), FailureClass::Policy);
        assert_eq!(error.detail, "why");
        assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
    }
}
