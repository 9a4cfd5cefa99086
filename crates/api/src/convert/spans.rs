//! Spans of time as whole milliseconds.

use std::time::Duration;

use super::ConvertError;

/// Rounded down: how long something has lasted, or a length that people set.
pub(super) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded up: how long to wait. Only zero itself becomes 0.
pub(crate) fn ms_up(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A span that a bound of `limits` applies to.
pub(super) fn bounded(
    field: &'static str,
    given_ms: u64,
    most: Duration,
) -> Result<Duration, ConvertError> {
    let most_ms = ms(most);
    if given_ms <= most_ms {
        return Ok(Duration::from_millis(given_ms));
    }
    Err(ConvertError::OverLimit {
        field,
        given: given_ms,
        most: most_ms,
        unit: "ms",
    })
}

/// A span where 0 means that none was given.
pub(crate) fn if_given(given_ms: u64) -> Option<Duration> {
    (given_ms > 0).then(|| Duration::from_millis(given_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_wait_is_never_rounded_to_none() {
        assert_eq!(ms_up(Duration::from_micros(1)), 1);
        assert_eq!(ms_up(Duration::from_millis(7)), 7);
        assert_eq!(ms_up(Duration::ZERO), 0);
        assert_eq!(ms_up(Duration::MAX), u64::MAX);
        assert_eq!(ms(Duration::from_micros(1_999)), 1);
    }

    #[test]
    fn span_over_its_bound_is_refused_with_both() {
        let error = bounded("delay_ms", 1_001, Duration::from_secs(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "delay_ms is 1001 ms, at most 1000 are taken"
        );
        assert!(bounded("delay_ms", 1_000, Duration::from_secs(1)).is_ok());
    }
}
