//! When to die: counts the operations of one point and says at which of them the process ends.

use std::sync::{Mutex, PoisonError};

use crate::points::{Deed, Moment, Point};

/// What a crash takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// The process dies; the page cache stays.
    Kill,
    /// Power fails; what was not synced is gone, or some of it.
    Power,
}

impl Flavour {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Power => "power",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Kill, Self::Power]
            .into_iter()
            .find(|flavour| flavour.word() == word)
    }
}

/// A crash that was ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) point: &'static Point,
    /// The how-many-th matching operation it is, from 1.
    pub(crate) nth: u32,
    pub(crate) flavour: Flavour,
}

/// Holds at most one order and counts towards it.
#[derive(Debug, Default)]
pub(super) struct Trigger(Mutex<Option<Order>>);

impl Trigger {
    /// Replaces the order, if there is one.
    pub(super) fn arm(&self, order: Option<Order>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }

    /// Counts an operation; the order and its moment once its time has come. It comes once.
    pub(super) fn ask(&self, deed: &Deed<'_>) -> Option<(Order, Moment)> {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = armed.as_mut()?;
        if !order.point.matches(deed) {
            return None;
        }
        order.nth = order.nth.saturating_sub(1);
        if order.nth > 0 {
            return None;
        }
        armed.take().map(|order| (order, order.point.moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::{Operation, find};

    #[test]
    fn order_comes_at_its_operation_and_once() {
        let trigger = Trigger::default();
        let names = ["log-0000000001.seg"];
        let deed = |operation| Deed {
            operation,
            names: &names,
            is_new: false,
        };
        trigger.arm(Some(Order {
            point: find("log-written-not-synced").unwrap(),
            nth: 2,
            flavour: Flavour::Kill,
        }));
        assert!(trigger.ask(&deed(Operation::Sync)).is_none());
        assert!(trigger.ask(&deed(Operation::Write)).is_none());
        let (_, moment) = trigger.ask(&deed(Operation::Sync)).unwrap();
        assert_eq!(moment, Moment::Before);
        assert!(trigger.ask(&deed(Operation::Sync)).is_none());
    }
}
