//! The live view: a bar for the results, a line for each region.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use leasehold_api::v1;

use crate::processes::REGIONS;

/// What the cluster says of itself, summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    pub(crate) done: u64,
    pub(crate) shards: Vec<ShardLine>,
    pub(crate) leases_by_region: BTreeMap<String, u64>,
}

/// One shard, as the view shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShardLine {
    pub(crate) id: u32,
    pub(crate) leader_region: Option<String>,
}

impl Snapshot {
    /// Sums the shards up. One without a leader is shown as such; its jobs are not counted meanwhile.
    pub(crate) fn of(shards: Vec<v1::Shard>) -> Self {
        let mut sum = Self::default();
        for shard in shards {
            let led = shard.error.is_none() && shard.leader != 0;
            sum.shards.push(ShardLine {
                id: shard.shard_id,
                leader_region: led.then_some(shard.leader_region),
            });
            let counts = shard.counts.unwrap_or_default();
            sum.ready += counts.ready + counts.waiting;
            sum.leased += counts.leased;
            sum.done += counts.done;
            for (region, leases) in shard.leases_by_region {
                *sum.leases_by_region.entry(region).or_default() += leases;
            }
        }
        sum
    }

    /// The region whose workers hold most leases; the first by name among equals.
    pub(crate) fn busiest(&self) -> Option<&str> {
        let by_leases =
            |(region, leases): &(&String, &u64)| (**leases, std::cmp::Reverse((*region).clone()));
        let busiest = self
            .leases_by_region
            .iter()
            .filter(|(_, leases)| **leases > 0)
            .max_by_key(by_leases);
        busiest.map(|(region, _)| region.as_str())
    }
}

/// Draws on a terminal; prints a line now and then elsewhere.
pub(crate) struct View {
    bars: MultiProgress,
    results: ProgressBar,
    regions: Vec<ProgressBar>,
    plain: bool,
    printed: Option<(u64, Vec<ShardLine>)>,
}

impl View {
    pub(crate) fn new(jobs: u64) -> Self {
        let bars = MultiProgress::new();
        let style =
            ProgressStyle::with_template("{prefix:>8} [{bar:40}] {pos}/{len} results  {msg}");
        let results = bars.add(ProgressBar::new(jobs).with_prefix("jobs"));
        results.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let line = ProgressStyle::with_template("{prefix:>8} {msg}");
        let line = line.unwrap_or_else(|_| ProgressStyle::default_bar());
        let region = |name| {
            bars.add(
                ProgressBar::new(1)
                    .with_prefix(name)
                    .with_style(line.clone()),
            )
        };
        Self {
            regions: REGIONS.into_iter().map(region).collect(),
            bars,
            results,
            plain: !std::io::stderr().is_terminal(),
            printed: None,
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, at: Duration, words: &str) {
        let line = format!("{:6.2}s  {words}", at.as_secs_f64());
        match self.plain {
            true => eprintln!("{line}"),
            false => self.bars.println(line).unwrap_or_default(),
        }
    }

    /// Shows the newest state. `dead` is the region that is down.
    pub(crate) fn show(&mut self, at: Duration, now: &Snapshot, dead: Option<&str>) {
        self.results.set_position(now.done);
        self.results
            .set_message(format!("{} queued, {} leased", now.ready, now.leased));
        for (bar, name) in self.regions.iter().zip(REGIONS) {
            bar.set_message(region_line(now, name, dead == Some(name)));
        }
        if self.plain {
            self.print_news(at, now);
        }
    }

    /// Without a terminal: every tenth of the way, and whenever a leader moves.
    fn print_news(&mut self, at: Duration, now: &Snapshot) {
        let step = (self.results.length().unwrap_or(0) / 10).max(1);
        let news = (now.done / step, now.shards.clone());
        if self.printed.as_ref() == Some(&news) {
            return;
        }
        let leaders = now.shards.iter().map(|shard| {
            let region = shard.leader_region.as_deref().unwrap_or("no leader");
            format!("s{} {region}", shard.id)
        });
        let leaders = leaders.collect::<Vec<_>>().join(", ");
        let (ready, leased, done) = (now.ready, now.leased, now.done);
        self.say(
            at,
            &format!("{ready} queued, {leased} leased, {done} done; leaders: {leaders}"),
        );
        self.printed = Some(news);
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&self) {
        self.results.abandon();
        self.regions.iter().for_each(ProgressBar::abandon);
    }
}

fn region_line(now: &Snapshot, name: &str, is_dead: bool) -> String {
    let leases = now.leases_by_region.get(name).copied().unwrap_or(0);
    let led = now
        .shards
        .iter()
        .filter(|shard| shard.leader_region.as_deref() == Some(name));
    let led: Vec<String> = led.map(|shard| format!("s{}", shard.id)).collect();
    let state = if is_dead { "killed" } else { "up" };
    let leads = match led.is_empty() {
        true => "leads nothing".to_owned(),
        false => format!("leads {}", led.join(" ")),
    };
    format!(
        "{state:7} {leads:16} {leases:3} leases  {}",
        "▪".repeat(usize::try_from(leases.min(60)).unwrap_or(0))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: u32, leases: &[(&str, u64)]) -> v1::Shard {
        v1::Shard {
            shard_id: id,
            leader: 1,
            leader_region: "eu".to_owned(),
            leases_by_region: leases
                .iter()
                .map(|(region, count)| ((*region).to_owned(), *count))
                .collect(),
            ..v1::Shard::default()
        }
    }

    #[test]
    fn busiest_region_holds_most_leases_over_all_shards() {
        let shards = vec![shard(1, &[("eu", 3), ("us", 2)]), shard(2, &[("us", 2)])];
        assert_eq!(Snapshot::of(shards).busiest(), Some("us"));
        assert_eq!(Snapshot::of(vec![shard(1, &[])]).busiest(), None);
    }
}
