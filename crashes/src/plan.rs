//! What the next crash is to be: drawn from the seed and the crash's number, and from what points were met so far.
//!
//! A point that did not come when it was waited for is drawn less often from then on, so that points which this version
//! or this size of cluster never passes cost little.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::args::RunArgs;
use crate::disk::{Flavour, Order};
use crate::points::{POINTS, Point, Stage};

/// One crash.
#[derive(Debug)]
pub(crate) struct Blow {
    /// Index of the node that it begins with.
    pub(crate) victim: usize,
    /// Whether all other nodes go down at the same time.
    pub(crate) takes_all: bool,
    pub(crate) flavour: Flavour,
    pub(crate) how: How,
    /// How long the dead stay down.
    pub(crate) down: Duration,
    /// A crash of the first victim while it starts again.
    pub(crate) again: Option<Order>,
}

/// How a crash begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// SIGKILL by somebody else after so long.
    FromOutside(Duration),
    /// On order after so long.
    Ordered(Duration),
    /// At a chosen point.
    At(Order),
}

/// Draws crashes.
pub(crate) struct Planner {
    seed: u64,
    only: Option<&'static Point>,
    is_power_only: bool,
    /// Only power failures at random moments: what a lying disk is to be found out by.
    is_plain: bool,
    /// By point: weight 1, halved each time that the point did not come, restored when it did.
    weights: BTreeMap<&'static str, f64>,
}

impl Planner {
    pub(crate) fn new(arguments: &RunArgs) -> Self {
        Self {
            seed: arguments.seed,
            only: arguments.point,
            is_power_only: arguments.power_only || arguments.lie,
            is_plain: arguments.lie,
            weights: POINTS.iter().map(|point| (point.name, 1.0)).collect(),
        }
    }

    /// The randomness of a new cluster after so many crashes: ports, load, and what its power failures take.
    pub(crate) fn cluster(&self, kills: u32) -> SmallRng {
        self.rng(kills, 3)
    }

    /// The randomness of the checks after a crash.
    pub(crate) fn looks(&self, kill: u32) -> SmallRng {
        self.rng(kill, 4)
    }

    /// The randomness of one crash, whatever was drawn before it.
    fn rng(&self, kill: u32, salt: u64) -> SmallRng {
        let number = u64::from(kill) << 8 | salt;
        SmallRng::seed_from_u64(self.seed.rotate_left(32) ^ number)
    }

    /// The how-many-th crash, in a cluster of so many nodes.
    pub(crate) fn blow(&self, kill: u32, nodes: usize) -> Blow {
        let mut rng = self.rng(kill, 1);
        let takes_all = nodes == 1 || rng.random_bool(0.3);
        let stage = match self.only {
            Some(point) => point.stage,
            None if !takes_all && rng.random_bool(0.35) => Stage::CatchUp,
            None => Stage::Start,
        };
        let is_behind = stage == Stage::CatchUp && nodes > 1;
        let again = match (is_behind, self.only) {
            _ if self.is_plain => None,
            (true, _) => self.order(Stage::CatchUp, &mut rng),
            (false, Some(_)) => self.order(Stage::Start, &mut rng),
            (false, None) if rng.random_bool(0.4) => self.order(Stage::Start, &mut rng),
            (false, None) => None,
        };
        let down = match is_behind {
            true => Duration::from_millis(rng.random_range(1_500..3_000)),
            false => Duration::from_millis(rng.random_range(0..300)),
        };
        Blow {
            victim: rng.random_range(0..nodes),
            takes_all: takes_all && !is_behind,
            flavour: self.flavour(&mut rng),
            how: self.how(&mut rng),
            down,
            again,
        }
    }

    fn how(&self, rng: &mut SmallRng) -> How {
        let after = Duration::from_millis(rng.random_range(0..600));
        let wants_point = !self.is_plain && (self.only.is_some() || rng.random_bool(0.65));
        let order = if wants_point {
            self.order(Stage::Running, rng)
        } else {
            None
        };
        match order {
            Some(order) => How::At(order),
            None if !self.is_power_only && rng.random_bool(0.4) => How::FromOutside(after),
            None => How::Ordered(after),
        }
    }

    fn flavour(&self, rng: &mut SmallRng) -> Flavour {
        match self.is_power_only || rng.random_bool(0.6) {
            true => Flavour::Power,
            false => Flavour::Kill,
        }
    }

    /// A crash of a node in its very first start, now and then.
    pub(crate) fn first_start(&self, kill: u32, nodes: usize) -> Option<(usize, Order)> {
        let mut rng = self.rng(kill, 2);
        if self.is_plain || self.only.is_none() && !rng.random_bool(0.8) {
            return None;
        }
        let order = self.order(Stage::FirstStart, &mut rng)?;
        Some((rng.random_range(0..nodes), order))
    }

    /// A crash at one of the points of a stage.
    fn order(&self, stage: Stage, rng: &mut SmallRng) -> Option<Order> {
        let is_wanted = |point: &&'static Point| {
            point.stage == stage && self.only.is_none_or(|only| only.name == point.name)
        };
        let points: Vec<&'static Point> = POINTS.iter().filter(is_wanted).collect();
        let weight = |point: &&'static Point| self.weights.get(point.name).copied().unwrap_or(1.0);
        let mut draw = rng.random::<f64>() * points.iter().map(weight).sum::<f64>();
        let point = points.iter().find(|point| {
            draw -= weight(point);
            draw <= 0.0
        })?;
        Some(Order {
            point,
            nth: rng.random_range(1..=point.nth_max),
            flavour: self.flavour(rng),
        })
    }

    /// Learns whether a point came.
    pub(crate) fn learn(&mut self, point: &'static Point, came: bool) {
        if let Some(weight) = self.weights.get_mut(point.name) {
            *weight = if came { 1.0 } else { (*weight / 2.0).max(0.02) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points;

    fn planner(seed: u64) -> Planner {
        Planner {
            seed,
            only: None,
            is_power_only: false,
            is_plain: false,
            weights: BTreeMap::new(),
        }
    }

    #[test]
    fn crash_is_drawn_from_the_seed_and_its_number() {
        let drawn = |seed, kill| format!("{:?}", planner(seed).blow(kill, 3));
        assert_eq!(drawn(1, 5), drawn(1, 5));
        assert_ne!(drawn(1, 5), drawn(1, 6));
        assert_ne!(drawn(1, 5), drawn(2, 5));
    }

    #[test]
    fn point_that_does_not_come_is_drawn_less_often() {
        let mut planner = planner(1);
        planner.weights = POINTS.iter().map(|point| (point.name, 1.0)).collect();
        let never = points::find("log-write-torn").unwrap();
        let count = |planner: &Planner| {
            let drawn = (0..2_000).filter_map(|kill| match planner.blow(kill, 1).how {
                How::At(order) => Some(order.point.name),
                How::FromOutside(_) | How::Ordered(_) => None,
            });
            drawn.filter(|name| *name == never.name).count()
        };
        let before = count(&planner);
        (0..8).for_each(|_| planner.learn(never, false));
        assert!(count(&planner) < before / 4, "{before}");
        planner.learn(never, true);
        assert_eq!(count(&planner), before);
    }
}
