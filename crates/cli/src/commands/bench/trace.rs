//! Every dispatch of an open loop by itself, so that those of one span of time can be told from the others.

use std::time::Instant;

use super::times::{Spread, Times};

/// From one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

impl Span {
    fn touches(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// For each job, from when it was meant to be sent until a worker had it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Vec<Span>);

impl Trace {
    pub(super) fn add(&mut self, waited: Span) {
        self.0.push(waited);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How long those waited that were meant to be sent in this span; none without any.
    pub(super) fn meant_in(&self, span: Span) -> Option<Spread> {
        self.spread(|waited| (span.from..span.to).contains(&waited.from))
    }

    /// How long those waited whose wait fell into one of these spans at least in part, and how long all others.
    pub(super) fn by_touch(&self, spans: &[Span]) -> (Option<Spread>, Option<Spread>) {
        let touches = |waited: Span| spans.iter().any(|span| span.touches(waited));
        (self.spread(touches), self.spread(|waited| !touches(waited)))
    }

    fn spread(&self, takes: impl Fn(Span) -> bool) -> Option<Spread> {
        let mut times = Times::new();
        let taken = self.0.iter().filter(|waited| takes(**waited));
        taken.for_each(|waited| times.add(waited.to.saturating_duration_since(waited.from)));
        times.spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::clock::now;
    use std::time::Duration;

    fn trace(start: Instant, waits: &[(u64, u64)]) -> Trace {
        let span = |(from, to): &(u64, u64)| span(start, *from, *to);
        Trace(waits.iter().map(span).collect())
    }

    fn span(start: Instant, from: u64, to: u64) -> Span {
        Span {
            from: start + Duration::from_millis(from),
            to: start + Duration::from_millis(to),
        }
    }

    fn count(spread: Option<Spread>) -> u64 {
        spread.map_or(0, |spread| spread.count)
    }

    #[test]
    fn job_belongs_to_the_span_in_which_it_was_meant_to_be_sent_whenever_it_arrived() {
        let start = now();
        let trace = trace(start, &[(0, 90), (10, 11), (20, 21)]);
        let first = trace.meant_in(span(start, 0, 10)).unwrap();
        assert_eq!((first.count, first.max_ms.round()), (1, 90.0));
        assert_eq!(count(trace.meant_in(span(start, 10, 30))), 2);
        assert_eq!(trace.meant_in(span(start, 30, 40)), None);
    }

    #[test]
    fn wait_that_reaches_into_a_span_counts_with_it_and_each_wait_counts_once() {
        let start = now();
        let trace = trace(start, &[(0, 4), (3, 6), (8, 9), (12, 13)]);
        let spans = [span(start, 5, 7), span(start, 5, 10)];
        let (with, without) = trace.by_touch(&spans);
        assert_eq!((count(with), count(without)), (2, 2));
    }
}
