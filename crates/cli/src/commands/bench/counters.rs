//! What the nodes count themselves, read from their pages.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use leasehold_client::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::target::Target;

/// Longest that a page may take: a node that stands still is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The group that is not one of a shard's.
const METADATA: &str = "g0";

/// One node's page at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) async fn read(endpoint: &Address) -> anyhow::Result<Self> {
        let page = timeout(PATIENCE, fetch(endpoint)).await;
        let page = page.map_err(anyhow::Error::from).flatten();
        let page = page.with_context(|| format!("reading http://{endpoint}/metrics"))?;
        Ok(Self(page))
    }

    /// The sum over all label sets; 0 where there are none.
    fn count(&self, name: &str) -> u64 {
        let values = self.values(name);
        values
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum()
    }

    /// The value of each shard's group that the node has a replica of.
    pub(super) fn of_shards(&self, name: &str) -> BTreeMap<String, u64> {
        let values = self.of_groups(name);
        values
            .filter_map(|(group, value)| Some((group.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// The time that a node has spent on something for all of its shards.
    pub(super) fn spent(&self, name: &str) -> Duration {
        let values = self.of_groups(name);
        let seconds = values.filter_map(|(_, value)| value.parse::<f64>().ok());
        let spans = seconds.filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok());
        spans.sum()
    }

    fn of_groups<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let values = self.values(name).filter_map(|(labels, value)| {
            let group = labels.strip_prefix("{group=\"")?.strip_suffix("\"}")?;
            Some((group, value))
        });
        values.filter(|(group, _)| *group != METADATA)
    }

    /// Labels and value of each line of this name, and of no other that begins alike.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value))
        })
    }
}

async fn fetch(endpoint: &Address) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(endpoint.as_str()).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

/// What one node's log has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LogCounts {
    pub(super) syncs: u64,
    pub(super) bytes: u64,
}

/// What each node's log has done, none for one that did not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Logged(Vec<Option<LogCounts>>);

impl Logged {
    /// Of a time of which nothing can be said.
    pub(super) fn unknown() -> Self {
        Self(vec![None])
    }

    /// What was done since an earlier look, or since the nodes' start where that saw nothing, by all together. None where
    /// a node did not say, or has begun to count anew.
    pub(super) fn since(&self, earlier: &Self) -> Option<LogCounts> {
        let mut sum = LogCounts::default();
        for (at, later) in self.0.iter().enumerate() {
            let earlier = earlier.0.get(at).copied();
            let (from, to) = (earlier.unwrap_or(Some(LogCounts::default()))?, (*later)?);
            sum.syncs += to.syncs.checked_sub(from.syncs)?;
            sum.bytes += to.bytes.checked_sub(from.bytes)?;
        }
        Some(sum)
    }
}

/// Reads the nodes' counters once they have stood still, which they do a second after the last job.
pub(super) async fn logged(target: &Target) -> anyhow::Result<Logged> {
    const SAMPLED_EVERY: Duration = Duration::from_millis(1100);
    sleep(SAMPLED_EVERY).await;
    let mut logged = Logged::default();
    for endpoint in target.counted()? {
        let page = Page::read(&endpoint).await.ok();
        logged.0.push(page.map(|page| LogCounts {
            syncs: page.count("leasehold_log_syncs"),
            bytes: page.count("leasehold_log_written_bytes"),
        }));
    }
    Ok(logged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_is_summed_over_its_labels_and_no_other_name_is_taken_for_it() {
        let page = "x_total{a=\"1\"} 3\nx_total{a=\"2\"} 4\nx_totals 9\n# x_total 8\ny_total 5\n";
        let page = Page(page.to_owned());
        assert_eq!(page.count("x_total"), 7);
        assert_eq!(page.count("y_total"), 5);
        assert_eq!(page.count("z_total"), 0);
    }

    #[test]
    fn what_belongs_to_shards_is_told_apart_from_the_metadata() {
        let page = "a{group=\"g0\"} 9\na{group=\"g1\"} 3\na{group=\"g12\"} 4\n\
                    b_seconds{group=\"g0\"} 7.0\nb_seconds{group=\"g1\"} 1.5\nb_seconds{group=\"g2\"} 0.25\n";
        let page = Page(page.to_owned());
        let expected = [("g1".to_owned(), 3), ("g12".to_owned(), 4)];
        assert_eq!(page.of_shards("a"), expected.into());
        assert_eq!(page.spent("b_seconds"), Duration::from_millis(1750));
    }

    #[test]
    fn node_that_was_silent_or_counts_anew_leaves_the_sum_unknown() {
        let counts = |syncs| Some(LogCounts { syncs, bytes: 10 });
        let (early, late) = (Logged(vec![counts(1), counts(2)]), [counts(4), counts(5)]);
        let since = |late: &[Option<LogCounts>]| Logged(late.to_vec()).since(&early);
        assert_eq!(since(&late), Some(LogCounts { syncs: 6, bytes: 0 }));
        assert_eq!(since(&[counts(4), None]), None);
        assert_eq!(since(&[counts(4), counts(1)]), None);
        let all = Logged(late.to_vec()).since(&Logged::default());
        assert_eq!(
            all,
            Some(LogCounts {
                syncs: 9,
                bytes: 20
            })
        );
    }
}
