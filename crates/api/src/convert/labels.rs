//! Labels and capacities: what a job asks for and what a worker offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_core::requirement::{Requirement, Supply};

use super::ConvertError;
use crate::v1;

/// What a job asks of a worker; an absent message asks nothing.
///
/// # Errors
/// When there are too many labels, or one is empty or too long.
pub fn requirement(wire: Option<v1::Labels>) -> Result<Requirement, ConvertError> {
    let (labels, capacity) = shared(wire.unwrap_or_default());
    let requirement = Requirement { labels, capacity };
    let field = "requirement";
    (requirement.validate()).map_err(|source| ConvertError::Labels { field, source })?;
    Ok(requirement)
}

/// What a worker offers; an absent message offers nothing in particular.
///
/// # Errors
/// When there are too many labels, or one is empty or too long.
pub fn supply(wire: Option<v1::Labels>) -> Result<Supply, ConvertError> {
    let (labels, capacity) = shared(wire.unwrap_or_default());
    let supply = Supply { labels, capacity };
    let field = "supply";
    (supply.validate()).map_err(|source| ConvertError::Labels { field, source })?;
    Ok(supply)
}

impl From<&Requirement> for v1::Labels {
    fn from(requirement: &Requirement) -> Self {
        owned(&requirement.labels, &requirement.capacity)
    }
}

impl From<&Supply> for v1::Labels {
    fn from(supply: &Supply) -> Self {
        owned(&supply.labels, &supply.capacity)
    }
}

type SharedLabels = (BTreeMap<Arc<str>, Arc<str>>, BTreeMap<Arc<str>, u64>);

fn shared(wire: v1::Labels) -> SharedLabels {
    let labels = wire.labels.into_iter();
    let capacity = wire.capacity.into_iter();
    (
        labels
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        capacity
            .map(|(name, amount)| (name.into(), amount))
            .collect(),
    )
}

fn owned(labels: &BTreeMap<Arc<str>, Arc<str>>, capacity: &BTreeMap<Arc<str>, u64>) -> v1::Labels {
    let label = |(name, value): (&Arc<str>, &Arc<str>)| (name.to_string(), value.to_string());
    let amount = |(name, amount): (&Arc<str>, &u64)| (name.to_string(), *amount);
    v1::Labels {
        labels: labels.iter().map(label).collect(),
        capacity: capacity.iter().map(amount).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::limits;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_within_bounds_survive_the_wire(
            labels in prop::collection::btree_map("[a-z]{1,8}", "[ -~]{0,8}", 0..8),
            capacity in prop::collection::btree_map("[a-z]{1,8}", any::<u64>(), 0..8),
        ) {
            let wire = v1::Labels { labels, capacity };
            let asked = requirement(Some(wire.clone())).unwrap();
            prop_assert_eq!(v1::Labels::from(&asked), wire.clone());
            let offered = supply(Some(wire.clone())).unwrap();
            prop_assert_eq!(v1::Labels::from(&offered), wire);
        }
    }

    #[test]
    fn too_many_or_too_long_labels_are_refused_by_name() {
        let many = (0..=limits::LABELS).map(|n| (n.to_string(), 1));
        let wire = v1::Labels {
            capacity: many.collect(),
            ..v1::Labels::default()
        };
        let error = supply(Some(wire)).unwrap_err().to_string();
        assert!(error.starts_with("supply: 33"), "{error}");
        let long = [("model".to_owned(), "x".repeat(limits::LABEL_BYTES + 1))];
        let wire = v1::Labels {
            labels: long.into(),
            ..v1::Labels::default()
        };
        let error = requirement(Some(wire)).unwrap_err().to_string();
        assert!(error.contains("\"model\""), "{error}");
    }
}
