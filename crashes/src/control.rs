//! What the driver and a node's process say to each other, one line each, over the process's own pipes.
//!
//! Standard error stays the node's log. A process whose driver is gone sees its input end and dies.

use crate::disk::{Flavour, Order};
use crate::points::{self, Point};

/// What the driver tells a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Crash at a point.
    Arm(Order),
    /// Forget the last order.
    Disarm,
    /// Crash now.
    Crash(Flavour),
}

/// What a node tells the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It takes work.
    Ready,
    /// It has forgotten its order: it will not die of it.
    Disarmed,
    /// It is about to die, as it was told to; why, in words.
    Dying(String),
}

impl Command {
    pub(crate) fn line(self) -> String {
        match self {
            Self::Arm(order) => format!("arm {}", order_text(order)),
            Self::Disarm => "disarm".to_owned(),
            Self::Crash(flavour) => format!("crash {}", flavour.word()),
        }
    }

    /// None for a line that is no command.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None => (line == "disarm").then_some(Self::Disarm),
            Some(("arm", order)) => parse_order(order).map(Self::Arm),
            Some(("crash", flavour)) => Flavour::parse(flavour).map(Self::Crash),
            Some(_) => None,
        }
    }
}

/// An order in one word, as the command line of a node takes it too.
pub(crate) fn order_text(order: Order) -> String {
    let Point { name, .. } = order.point;
    format!("{name}:{}:{}", order.nth, order.flavour.word())
}

/// None when there is no such point, or the rest is malformed.
pub(crate) fn parse_order(text: &str) -> Option<Order> {
    let mut parts = text.split(':');
    let order = Order {
        point: points::find(parts.next()?)?,
        nth: parts.next()?.parse().ok()?,
        flavour: Flavour::parse(parts.next()?)?,
    };
    parts.next().is_none().then_some(order)
}

impl Event {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Ready => "ready".to_owned(),
            Self::Disarmed => "disarmed".to_owned(),
            Self::Dying(why) => format!("dying {}", why.replace('\n', " ")),
        }
    }

    /// None for a line that is no event.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None => [Self::Ready, Self::Disarmed]
                .into_iter()
                .find(|event| event.line() == line),
            Some(("dying", why)) => Some(Self::Dying(why.to_owned())),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_back_from_its_text() {
        for point in points::POINTS {
            let order = Order {
                point,
                nth: 3,
                flavour: Flavour::Power,
            };
            let Some(Command::Arm(read)) = Command::parse(&Command::Arm(order).line()) else {
                panic!("{point} did not come back");
            };
            assert!(std::ptr::eq(read.point, point));
            assert_eq!((read.nth, read.flavour), (3, Flavour::Power));
        }
        assert!(parse_order("no-such-point:1:kill").is_none());
        assert!(Command::parse("arm").is_none());
    }

    #[test]
    fn event_is_one_line() {
        let dying = Event::Dying("a\nb".to_owned());
        assert_eq!(
            Event::parse(&dying.line()),
            Some(Event::Dying("a b".to_owned()))
        );
        assert_eq!(Event::parse("ready"), Some(Event::Ready));
        assert_eq!(Event::parse("disarmed"), Some(Event::Disarmed));
        assert_eq!(Event::parse("other"), None);
    }
}
