//! What a job asks of a worker, what a worker offers, and whether the two fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_types::limits;

/// What a job needs from a worker. Jobs with equal requirements share one pool in their queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Requirement {
    /// Labels that the worker must carry with exactly these values, such as `model` = `llama-70b`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Capacities of which the worker must offer at least so much, such as `vram_gib` ≥ 80.
    pub capacity: BTreeMap<Arc<str>, u64>,
}

/// What a worker offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Supply {
    /// The worker's labels.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// How much it has of each capacity.
    pub capacity: BTreeMap<Arc<str>, u64>,
}

/// Why a set of labels or capacities is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// More than [`limits::LABELS`] labels and capacities together.
    #[error("{given} labels and capacities, at most {most} are taken")]
    TooMany {
        /// How many were given.
        given: usize,
        /// How many are taken.
        most: usize,
    },
    /// An empty name, or a name or value over [`limits::LABEL_BYTES`].
    #[error("label {name:?} is empty or longer than {most} bytes, in its name or its value")]
    Length {
        /// The label, cut to 64 characters.
        name: String,
        /// The longest name or value.
        most: usize,
    },
}

impl Requirement {
    /// Whether any worker of the queue will do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.capacity.is_empty()
    }

    /// Whether a worker with this supply may run the job.
    #[must_use]
    pub fn is_met_by(&self, supply: &Supply) -> bool {
        let labels_fit =
            (self.labels.iter()).all(|(name, value)| supply.labels.get(name) == Some(value));
        let enough = |(name, least): (&Arc<str>, &u64)| {
            supply.capacity.get(name).is_some_and(|has| has >= least)
        };
        labels_fit && self.capacity.iter().all(enough)
    }

    /// Checks the number and the lengths of labels.
    ///
    /// # Errors
    /// [`RequirementError`] names the label or the number over its bound.
    pub fn validate(&self) -> Result<(), RequirementError> {
        validate(&self.labels, &self.capacity)
    }
}

impl Supply {
    /// Checks the number and the lengths of labels.
    ///
    /// # Errors
    /// [`RequirementError`] names the label or the number over its bound.
    pub fn validate(&self) -> Result<(), RequirementError> {
        validate(&self.labels, &self.capacity)
    }
}

fn validate(
    labels: &BTreeMap<Arc<str>, Arc<str>>,
    capacity: &BTreeMap<Arc<str>, u64>,
) -> Result<(), RequirementError> {
    let given = labels.len() + capacity.len();
    if given > limits::LABELS {
        let most = limits::LABELS;
        return Err(RequirementError::TooMany { given, most });
    }
    let most = limits::LABEL_BYTES;
    let bad_name = |name: &&Arc<str>| name.is_empty() || name.len() > most;
    let bad_label = labels
        .iter()
        .find(|(name, value)| bad_name(name) || value.len() > most);
    match bad_label
        .map(|(name, _)| name)
        .or_else(|| capacity.keys().find(bad_name))
    {
        Some(name) => Err(RequirementError::Length {
            name: name.chars().take(64).collect(),
            most,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(model: &str, vram: u64) -> Supply {
        Supply {
            labels: [("model".into(), model.into())].into(),
            capacity: [("vram_gib".into(), vram)].into(),
        }
    }

    #[test]
    fn job_goes_only_to_a_worker_with_its_labels_and_enough_capacity() {
        let needs = Requirement {
            labels: [("model".into(), "llama".into())].into(),
            capacity: [("vram_gib".into(), 40)].into(),
        };
        assert!(needs.is_met_by(&supply("llama", 80)));
        assert!(!needs.is_met_by(&supply("llama", 24)));
        assert!(!needs.is_met_by(&supply("mistral", 80)));
        assert!(!needs.is_met_by(&Supply::default()));
        assert!(Requirement::default().is_met_by(&Supply::default()));
    }

    #[test]
    fn too_many_labels_are_refused_with_the_bound() {
        let labels = (0..=limits::LABELS).map(|n| (n.to_string().into(), "x".into()));
        let needs = Requirement {
            labels: labels.collect(),
            ..Requirement::default()
        };
        assert!(matches!(
            needs.validate(),
            Err(RequirementError::TooMany { .. })
        ));
    }
}
