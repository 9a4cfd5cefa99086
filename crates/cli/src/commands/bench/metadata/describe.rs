//! The figures for people.

use super::MetadataFigures;
use crate::commands::bench::report::spreads;
use crate::output::fields;

impl MetadataFigures {
    pub(crate) fn describe(&self) -> String {
        let what = match self.unchanged {
            true => "unchanged policies, which no shard is told of",
            false => "policies, which the shards are told of",
        };
        let rate = format!(
            "{:.0} changes/s ({} in {:.1} s)",
            self.changes_per_s, self.changes, self.seconds
        );
        let rate = fields(&[("acknowledged", rate), ("changes of", what.to_owned())]);
        let times = spreads(&[("change acknowledged", self.answer)]);
        format!("{rate}\n\n{times}")
    }

    /// What became of all changes, a row each.
    pub(crate) fn ends(&self) -> Vec<(&'static str, String)> {
        vec![
            ("acknowledged", self.acknowledged.to_string()),
            ("changes of unknown outcome", self.unsure.to_string()),
            ("queues", self.queues.to_string()),
            ("queues astray", self.lost.to_string()),
        ]
    }

    /// What may never be, in words.
    pub(crate) fn broken_promise(&self) -> Option<String> {
        let lost = self.lost;
        (lost > 0).then(|| format!("{lost} queues do not show the last policy acknowledged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(lost: usize) -> MetadataFigures {
        MetadataFigures {
            changes_per_s: 50.0,
            changes: 500,
            seconds: 10.0,
            unchanged: false,
            queues: 4,
            acknowledged: 600,
            unsure: 0,
            lost,
            answer: None,
        }
    }

    #[test]
    fn queue_astray_is_a_broken_promise() {
        assert_eq!(figures(0).broken_promise(), None);
        let broken = figures(2).broken_promise().unwrap();
        assert!(broken.contains("2 queues"), "{broken}");
    }

    #[test]
    fn people_see_the_rate_and_what_was_changed() {
        let text = figures(0).describe();
        assert!(text.contains("50 changes/s (500 in 10.0 s)"), "{text}");
        assert!(text.contains("shards are told"), "{text}");
        assert!(
            figures(3)
                .ends()
                .contains(&("queues astray", "3".to_owned()))
        );
    }
}
