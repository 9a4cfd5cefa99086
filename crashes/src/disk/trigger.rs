//! When to die: counts the operations of one point and says at which of them the process ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::points::{Deed, Point};

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
pub(super) struct Trigger(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Armed(Order),
    /// The operation has come; what follows is the end of the process.
    Met,
}

impl Trigger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an order, in place of the last one.
    pub(super) fn arm(&self, order: Order) {
        *self.state() = State::Armed(order);
    }

    /// Forgets the order; false when its operation has come already.
    pub(super) fn disarm(&self) -> bool {
        let mut state = self.state();
        if matches!(*state, State::Met) {
            return false;
        }
        *state = State::Idle;
        true
    }

    /// Counts an operation; the order once its time has come. It comes once.
    pub(super) fn ask(&self, deed: &Deed<'_>) -> Option<Order> {
        let mut state = self.state();
        let State::Armed(order) = &mut *state else {
            return None;
        };
        if !order.point.matches(deed) {
            return None;
        }
        order.nth = order.nth.saturating_sub(1);
        if order.nth > 0 {
            return None;
        }
        let order = *order;
        *state = State::Met;
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::{Operation, find};

    const SEGMENT: &str = "log-0000000001.seg";

    #[test]
    fn order_comes_at_its_operation_and_once() {
        let trigger = Trigger::default();
        let ask = |operation| {
            trigger.ask(&Deed {
                acts: &[(operation, SEGMENT)],
                is_new: false,
            })
        };
        trigger.arm(Order {
            point: find("log-written-not-synced").unwrap(),
            nth: 2,
            flavour: Flavour::Kill,
        });
        assert!(ask(Operation::Sync).is_none());
        assert!(ask(Operation::Write).is_none());
        assert!(ask(Operation::Sync).is_some());
        assert!(ask(Operation::Sync).is_none());
        assert!(!trigger.disarm(), "it has come");
    }

    #[test]
    fn forgotten_order_does_not_come() {
        let trigger = Trigger::default();
        trigger.arm(Order {
            point: find("first-operation").unwrap(),
            nth: 1,
            flavour: Flavour::Kill,
        });
        assert!(trigger.disarm());
        let deed = Deed {
            acts: &[(Operation::Sync, "a")],
            is_new: false,
        };
        assert!(trigger.ask(&deed).is_none());
    }
}
