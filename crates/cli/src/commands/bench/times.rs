//! Spans of time, counted in a histogram that keeps three digits whatever their size.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest span told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Spans, from one microsecond to an hour.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Self(histogram.expect("bounds and digits that the histogram takes"))
    }

    pub(super) fn add(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(micros.max(1));
    }

    /// Counts a span, where there is one to count.
    pub(super) fn add_if(&mut self, span: Option<Duration>) {
        if let Some(span) = span {
            self.add(span);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        added.expect("all histograms have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// None when nothing was counted.
    pub(super) fn spread(&self) -> Option<Spread> {
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Spread {
            count: self.0.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: millis(self.0.max()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an hour has less than 2^52 us")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// How spans are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_three_digits_from_microseconds_to_minutes() {
        let mut times = Times::new();
        for _fast in 0..99 {
            times.add(Duration::from_micros(250));
        }
        times.add(Duration::from_secs(90));
        let spread = times.spread().unwrap();
        assert!((spread.p50_ms - 0.25).abs() < 0.001, "{spread:?}");
        assert!((spread.max_ms - 90_000.0).abs() < 90.0, "{spread:?}");
        assert_eq!(spread.count, 100);
    }

    #[test]
    fn nothing_counted_has_no_spread_and_what_is_too_long_counts_as_longest() {
        let mut times = Times::new();
        assert_eq!(times.spread(), None);
        times.add(Duration::from_secs(7200));
        assert!(times.spread().unwrap().max_ms >= 3_599_000.0);
    }

    #[test]
    fn merged_counts_are_those_of_both() {
        let (mut one, mut other) = (Times::new(), Times::new());
        one.add(Duration::from_millis(1));
        other.add(Duration::from_millis(3));
        one.merge(&other);
        let spread = one.spread().unwrap();
        assert_eq!(spread.count, 2);
        assert!((spread.max_ms - 3.0).abs() < 0.01);
    }
}
