//! How a follower's returns look to people.

use super::{FollowerFigures, Return};
use crate::commands::bench::report::spreads;
use crate::commands::bench::throughput::as_f64;
use crate::output::fields;

const MIB: f64 = 1024.0 * 1024.0;

impl FollowerFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let log = self.log.describe("the others keep their log");
        let title = format!(
            "the others keep none, {} jobs queued meanwhile",
            self.queued
        );
        let snapshot = self.snapshot.describe(&title);
        let rate = fields(&[("rate", format!("{} jobs/s", self.rate))]);
        format!("{rate}\n\n{log}\n\n{snapshot}")
    }
}

impl Return {
    fn describe(&self, title: &str) -> String {
        let rows = fields(&[
            ("stood still for", format!("{:.1} s", self.away_s)),
            ("missed", format!("{} entries", self.missed)),
            (
                "caught up in",
                format!("{:.1} s, {}", self.caught_up_s, self.what_it_took()),
            ),
        ]);
        let waits = spreads(&[
            ("worker has it, before", self.before),
            ("meanwhile", self.away),
            ("while it catches up", self.catching_up),
            ("after", self.after),
        ]);
        format!("{title}:\n\n{rows}\n\n{waits}")
    }

    fn what_it_took(&self) -> String {
        match self.snapshots {
            0 => "from the log".to_owned(),
            snapshots => format!(
                "{snapshots} snapshots, {:.1} MiB in {:.1} s",
                as_f64(self.snapshot_bytes) / MIB,
                self.snapshot_s
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(snapshots: u64) -> Return {
        Return {
            away_s: 300.0,
            missed: 12,
            caught_up_s: 2.5,
            snapshots,
            snapshot_bytes: 3 << 20,
            snapshot_s: 1.5,
            before: None,
            away: None,
            catching_up: None,
            after: None,
        }
    }

    #[test]
    fn people_see_how_it_came_back_and_how_soon() {
        let figures = FollowerFigures {
            rate: 500,
            log: back(0),
            snapshot: back(2),
            queued: 7,
        };
        let text = figures.describe();
        for words in [
            "2.5 s, from the log",
            "2.5 s, 2 snapshots, 3.0 MiB in 1.5 s",
            "7 jobs queued meanwhile",
        ] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
    }
}
