//! When to tell gateways that a queue has work that nobody took.
//!
//! Gateways lend idle slots to the leaders of their own region first. A shard whose own workers are busy, or which has
//! none, says so once when a queue goes from no ready jobs to some, and gateways with idle slots offer them. That is
//! news and not a feed: while a queue stays backed up the offers' own answers carry its backlog.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_core::shard::view::QueueStats;
use leasehold_types::{QueueName, Timestamp};

/// Shortest time between two rounds of news of one shard: a queue that flickers must not flood every node.
const SPACING: Duration = Duration::from_millis(250);
/// A backlog that stands is told again after this long, for gateways that were away.
const AGAIN: Duration = Duration::from_secs(5);

/// Remembers what was told.
#[derive(Debug, Default)]
pub(super) struct BacklogNews {
    told: BTreeMap<QueueName, Timestamp>,
    told_at: Option<Timestamp>,
}

impl BacklogNews {
    /// When the next round may be made.
    pub(super) fn next_round(&self) -> Timestamp {
        self.told_at.map_or(Timestamp::ZERO, |at| at + SPACING)
    }

    /// The queues to tell of now, with their ready jobs. Empty when there is nothing new or it is too early.
    pub(super) fn round(
        &mut self,
        queues: &[(QueueName, QueueStats)],
        now: Timestamp,
    ) -> BTreeMap<QueueName, u64> {
        if now < self.next_round() {
            return BTreeMap::new();
        }
        let backed_up = || queues.iter().filter(|(_, stats)| stats.ready > 0);
        let is_new = |queue: &QueueName| {
            let told = self.told.get(queue);
            told.is_none_or(|at| now.since(*at) >= AGAIN)
        };
        let news: BTreeMap<QueueName, u64> = backed_up()
            .filter(|(queue, _)| is_new(queue))
            .map(|(queue, stats)| (queue.clone(), stats.ready))
            .collect();
        self.remember(backed_up().map(|(queue, _)| queue), &news, now);
        news
    }

    fn remember<'a>(
        &mut self,
        backed_up: impl Iterator<Item = &'a QueueName>,
        news: &BTreeMap<QueueName, u64>,
        now: Timestamp,
    ) {
        let at = |queue: &QueueName| match news.contains_key(queue) {
            true => now,
            false => self.told.get(queue).copied().unwrap_or(now),
        };
        self.told = backed_up.map(|queue| (queue.clone(), at(queue))).collect();
        if !news.is_empty() {
            self.told_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(jobs: u64) -> Vec<(QueueName, QueueStats)> {
        let stats = QueueStats {
            ready: jobs,
            ..QueueStats::default()
        };
        vec![(QueueName::new("chat").unwrap(), stats)]
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn backlog_is_news_once_until_it_is_gone() {
        let mut news = BacklogNews::default();
        assert!(news.round(&ready(0), at(0)).is_empty());
        assert_eq!(news.round(&ready(7), at(1)).len(), 1);
        assert!(news.round(&ready(9), at(1_000)).is_empty());
        assert!(news.round(&ready(0), at(2_000)).is_empty());
        assert_eq!(news.round(&ready(1), at(3_000)).len(), 1);
    }

    #[test]
    fn flickering_queue_is_not_told_more_often_than_the_spacing() {
        let mut news = BacklogNews::default();
        let rounds = (0..1_000).filter(|ms| {
            let jobs = u64::from(ms % 2 == 0);
            !news.round(&ready(jobs), at(*ms)).is_empty()
        });
        assert_eq!(rounds.count(), 4);
    }

    #[test]
    fn backlog_that_stands_is_told_again_in_a_while() {
        let mut news = BacklogNews::default();
        news.round(&ready(1), at(0));
        assert_eq!(news.round(&ready(1), at(5_000)).len(), 1);
    }
}
