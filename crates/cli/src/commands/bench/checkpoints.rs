//! When checkpoints were being written, by what the nodes themselves say.

use std::time::Duration;

use leasehold_client::Address;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::clock::now;
use super::counters::Page;
use super::trace::Span;

/// Between two looks: what a span may be longer than the checkpoint in it, at each end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a watch saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// In time's order, apart from each other.
    pub(super) spans: Vec<Span>,
    /// Time that all nodes together spent on checkpoints of shards.
    pub(super) writing: Duration,
}

impl Seen {
    /// The nodes have spent so much more between two looks.
    fn add(&mut self, looks: Span, spent: Duration) {
        if spent.is_zero() {
            return;
        }
        self.writing += spent;
        match self.spans.last_mut() {
            Some(last) if last.to >= looks.from => last.to = looks.to,
            Some(_) | None => self.spans.push(looks),
        }
    }
}

/// Looks again and again until it is told to end.
pub(super) struct Watch {
    looking: JoinHandle<anyhow::Result<Seen>>,
    end: CancellationToken,
}

impl Watch {
    pub(super) fn start(nodes: Vec<Address>) -> Self {
        let end = CancellationToken::new();
        let looking = tokio::spawn(look(nodes, end.clone()));
        Self { looking, end }
    }

    pub(super) async fn end(self) -> anyhow::Result<Seen> {
        self.end.cancel();
        self.looking.await?
    }
}

async fn look(nodes: Vec<Address>, end: CancellationToken) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let (mut from, mut before) = (now(), spent(&nodes).await?);
    while !end.is_cancelled() {
        sleep(LOOK_EVERY).await;
        let looked_at = now();
        let so_far = spent(&nodes).await?;
        let looks = Span { from, to: now() };
        seen.add(looks, so_far.saturating_sub(before));
        (from, before) = (looked_at, so_far);
    }
    Ok(seen)
}

async fn spent(nodes: &[Address]) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for node in nodes {
        let page = Page::read(node).await?;
        sum += page.spent("leasehold_checkpoint_writing_seconds");
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_one_after_the_other_are_one_span_and_those_without_a_checkpoint_are_none() {
        let start = now();
        let looks = |from, to| Span {
            from: start + Duration::from_millis(from),
            to: start + Duration::from_millis(to),
        };
        let (mut seen, some) = (Seen::default(), Duration::from_millis(7));
        seen.add(looks(0, 55), some);
        seen.add(looks(50, 105), some);
        seen.add(looks(100, 155), Duration::ZERO);
        seen.add(looks(150, 205), some);
        assert_eq!(seen.spans, [looks(0, 105), looks(150, 205)]);
        assert_eq!(seen.writing, some * 3);
    }
}
