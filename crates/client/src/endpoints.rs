//! Which endpoint to try next.
//!
//! One list, the caller's own endpoints first, then those that the cluster named. The one that last answered is
//! preferred until it fails: no probing of others, because every probe would be a real request made slower. One that
//! failed rests, twice as long after each failure in a row, and is tried early only when all others failed too.
//! Pure: the caller brings the time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::Address;

/// Most endpoints remembered; the cluster may name more nodes than a client needs.
const MOST: usize = 64;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What is known of the endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    known: Vec<Known>,
    /// Index of the one that last answered.
    preferred: usize,
}

#[derive(Debug, Clone)]
struct Known {
    address: Address,
    /// Failures in a row.
    failures: u32,
    rests_until: Option<Instant>,
}

impl Endpoints {
    pub(crate) fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut endpoints = Self {
            known: Vec::new(),
            preferred: 0,
        };
        endpoints.learn(addresses);
        endpoints
    }

    /// Adds those that are not known yet, at the end.
    pub(crate) fn learn(&mut self, addresses: impl IntoIterator<Item = Address>) {
        for address in addresses {
            if self.known.len() < MOST && self.position(&address).is_none() {
                self.known.push(Known {
                    address,
                    failures: 0,
                    rests_until: None,
                });
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The next to try: the preferred one, else the next in the list that is not resting, else the one whose rest
    /// ends first. None when all were tried.
    pub(crate) fn pick(&self, tried: &BTreeSet<Address>, now: Instant) -> Option<Address> {
        let count = self.known.len();
        let in_turn = (0..count).map(|step| &self.known[(self.preferred + step) % count]);
        let untried = in_turn.filter(|known| !tried.contains(&known.address));
        untried
            .min_by_key(|known| known.rests_until.filter(|until| *until > now))
            .map(|known| known.address.clone())
    }

    /// The endpoint answered.
    pub(crate) fn worked(&mut self, address: &Address) {
        let Some(index) = self.position(address) else {
            return;
        };
        self.preferred = index;
        self.known[index].failures = 0;
        self.known[index].rests_until = None;
    }

    /// The endpoint could not be reached, or did not answer.
    pub(crate) fn failed(&mut self, address: &Address, now: Instant) {
        let Some(index) = self.position(address) else {
            return;
        };
        let known = &mut self.known[index];
        let doublings = known.failures.min(5);
        known.failures = known.failures.saturating_add(1);
        known.rests_until = Some(now + (FIRST_REST * (1 << doublings)).min(LONGEST_REST));
    }

    fn position(&self, address: &Address) -> Option<usize> {
        self.known
            .iter()
            .position(|known| known.address == *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    fn address(name: &str) -> Address {
        format!("{name}:1").parse().unwrap()
    }

    fn three() -> Endpoints {
        Endpoints::new(["a", "b", "c"].map(address))
    }

    fn pick(endpoints: &Endpoints, tried: &[&str], now: Instant) -> Option<String> {
        let tried = tried.iter().map(|name| address(name)).collect();
        let picked = endpoints.pick(&tried, now)?;
        Some(picked.as_str().trim_end_matches(":1").to_owned())
    }

    #[tokio::test]
    async fn endpoints_are_tried_in_their_order() {
        let (endpoints, now) = (three(), now());
        assert_eq!(pick(&endpoints, &[], now).as_deref(), Some("a"));
        assert_eq!(pick(&endpoints, &["a"], now).as_deref(), Some("b"));
        assert_eq!(pick(&endpoints, &["a", "b"], now).as_deref(), Some("c"));
        assert_eq!(pick(&endpoints, &["a", "b", "c"], now), None);
        assert_eq!(pick(&Endpoints::new([]), &[], now), None);
    }

    #[tokio::test]
    async fn the_one_that_answered_is_preferred_until_it_fails() {
        let (mut endpoints, now) = (three(), now());
        endpoints.worked(&address("b"));
        assert_eq!(pick(&endpoints, &[], now).as_deref(), Some("b"));
        endpoints.failed(&address("b"), now);
        assert_eq!(pick(&endpoints, &[], now).as_deref(), Some("c"));
    }

    #[tokio::test]
    async fn rest_doubles_with_failures_in_a_row_and_ends_with_an_answer() {
        let (mut endpoints, now) = (three(), now());
        let a = address("a");
        endpoints.failed(&a, now);
        let later = now + FIRST_REST;
        assert_eq!(pick(&endpoints, &[], later).as_deref(), Some("a"));
        endpoints.failed(&a, later);
        assert_eq!(
            pick(&endpoints, &[], later + FIRST_REST).as_deref(),
            Some("b")
        );
        for _ in 0..100 {
            endpoints.failed(&a, later);
        }
        assert_eq!(
            pick(&endpoints, &[], later + LONGEST_REST).as_deref(),
            Some("a")
        );
        endpoints.worked(&a);
        endpoints.failed(&a, later);
        assert_eq!(
            pick(&endpoints, &[], later + FIRST_REST).as_deref(),
            Some("a")
        );
    }

    #[tokio::test]
    async fn when_all_rest_the_first_to_wake_is_tried() {
        let (mut endpoints, now) = (three(), now());
        endpoints.failed(&address("a"), now);
        endpoints.failed(&address("a"), now);
        endpoints.failed(&address("b"), now);
        endpoints.failed(&address("c"), now + Duration::from_millis(1));
        assert_eq!(pick(&endpoints, &[], now).as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn learned_endpoints_come_last_once_and_within_the_bound() {
        let mut endpoints = three();
        endpoints.learn(["b", "d"].map(address));
        assert_eq!(endpoints.len(), 4);
        endpoints.learn((0..1_000).map(|n| address(&format!("n{n}"))));
        assert_eq!(endpoints.len(), MOST);
    }
}
