//! When each message of the session was sent.
//!
//! Leases are counted from the messages that leaders name, so sending times have to be kept for the length of the
//! longest lease. A busy worker sends thousands of messages a second, hence one mark is kept for all messages of a
//! short while, at the time of the first: counting from too early is safe, counting from too late is not.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold_types::limits;
use tokio::time::Instant;

/// Messages sent within so long of each other share a mark.
const GRAIN: Duration = Duration::from_millis(25);

/// Numbers messages, and remembers when they were sent.
#[derive(Debug, Default)]
pub(super) struct SentLog {
    last: u64,
    /// First number of each mark and its time, oldest first.
    marks: VecDeque<(u64, Instant)>,
}

impl SentLog {
    /// The number of a message that is sent now. Rises by one, from 1, over all connections.
    pub(super) fn number(&mut self, now: Instant) -> u64 {
        self.last += 1;
        let is_new = self.marks.back().is_none_or(|(_, at)| now >= *at + GRAIN);
        if is_new {
            self.marks.push_back((self.last, now));
            self.forget(now);
        }
        self.last
    }

    /// When the message was sent, or a little earlier. None when it was never sent, or too long ago for any lease.
    pub(super) fn sent_at(&self, number: u64) -> Option<Instant> {
        if number > self.last {
            return None;
        }
        let after = self.marks.partition_point(|(first, _)| *first <= number);
        let (_, at) = self.marks.get(after.checked_sub(1)?)?;
        Some(*at)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, second)) = self.marks.get(1) {
            if *second + limits::LEASE_MAX > now {
                return;
            }
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[tokio::test]
    async fn numbers_rise_by_one_from_one() {
        let (mut sent, now) = (SentLog::default(), now());
        assert_eq!(
            [sent.number(now), sent.number(now), sent.number(now)],
            [1, 2, 3]
        );
    }

    #[tokio::test]
    async fn message_is_never_taken_for_later_than_it_was_sent() {
        let (mut sent, start) = (SentLog::default(), now());
        let step = Duration::from_millis(7);
        for number in 1..500_u32 {
            let at = start + step * number;
            let named = sent.number(at);
            let believed = sent.sent_at(named).unwrap();
            assert!(believed <= at && at - believed < GRAIN);
        }
        let third = start + step * 3;
        assert!(sent.sent_at(3).is_some_and(|believed| believed <= third));
    }

    #[tokio::test]
    async fn message_never_sent_has_no_time() {
        let (mut sent, now) = (SentLog::default(), now());
        assert_eq!(sent.sent_at(0), None);
        sent.number(now);
        assert_eq!(sent.sent_at(0), None);
        assert_eq!(sent.sent_at(1), Some(now));
        assert_eq!(sent.sent_at(2), None);
    }

    #[tokio::test]
    async fn memory_is_bounded_by_the_longest_lease() {
        let (mut sent, start) = (SentLog::default(), now());
        let most = limits::LEASE_MAX.as_millis() / GRAIN.as_millis() + 2;
        for number in 0..100_000_u32 {
            sent.number(start + GRAIN * number);
        }
        assert!(u128::try_from(sent.marks.len()).unwrap() <= most);
        assert_eq!(sent.sent_at(1), None);
    }
}
