//! Where in the id space to mint a job's id: asked once a queue, remembered for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_types::ErrorCode;
use tokio::time::Instant;

use crate::client::{Client, Kind, jobs};
use crate::clock::now;
use crate::error::ClientError;

/// A route is asked for again after this, so that new jobs follow the cluster's changes.
const KEPT: Duration = Duration::from_secs(30);
/// Most routes remembered.
const MOST: usize = 1_024;

/// The slices of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(super) first: u16,
    pub(super) count: u16,
}

/// Routes by queue and tenant.
#[derive(Debug, Default)]
pub(crate) struct Routes(BTreeMap<(String, String), (Route, Instant)>);

impl Routes {
    fn get(&self, queue: &str, tenant: &str, now: Instant) -> Option<Route> {
        let (route, until) = self.0.get(&(queue.to_owned(), tenant.to_owned()))?;
        (*until > now).then_some(*route)
    }

    fn put(&mut self, queue: &str, tenant: &str, route: Route, now: Instant) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let key = (queue.to_owned(), tenant.to_owned());
        self.0.insert(key, (route, now + KEPT));
    }

    /// Jobs to come ask anew: the shard could not be reached.
    pub(super) fn forget(&mut self, queue: &str, tenant: &str) {
        self.0.remove(&(queue.to_owned(), tenant.to_owned()));
    }
}

impl Client {
    /// The slices in which to mint the id of a job of this queue.
    pub(super) async fn route(&self, queue: &str, tenant: &str) -> Result<Route, ClientError> {
        let known = self.routes().get(queue, tenant, now());
        if let Some(route) = known {
            return Ok(route);
        }
        let request = v1::RouteRequest {
            queue: queue.to_owned(),
            tenant: tenant.to_owned(),
            idempotency_key: String::new(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { jobs(channel).route(request).await }
        };
        let answer = self.call(Kind::Read, ask).await?;
        self.learn(&answer.endpoints);
        let route = readable(&answer).ok_or_else(|| ClientError::Refused(unreadable(&answer)))?;
        self.routes().put(queue, tenant, route, now());
        Ok(route)
    }
}

fn readable(answer: &v1::RouteResponse) -> Option<Route> {
    let first = u16::try_from(answer.first_virtual_shard).ok()?;
    let count = u16::try_from(answer.virtual_shards).ok()?;
    let last = count.checked_sub(1)?;
    first.checked_add(last)?;
    Some(Route { first, count })
}

fn unreadable(answer: &v1::RouteResponse) -> ApiError {
    let (first, count) = (answer.first_virtual_shard, answer.virtual_shards);
    let message = format!("the route names {count} slices from {first}, which cannot be");
    ApiError::new(ErrorCode::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(first: u32, count: u32) -> v1::RouteResponse {
        v1::RouteResponse {
            first_virtual_shard: first,
            virtual_shards: count,
            ..v1::RouteResponse::default()
        }
    }

    #[test]
    fn route_outside_the_id_space_is_refused() {
        let all = Route {
            first: 0,
            count: u16::MAX,
        };
        assert_eq!(readable(&answer(0, 65_535)), Some(all));
        let last = Route {
            first: u16::MAX,
            count: 1,
        };
        assert_eq!(readable(&answer(65_535, 1)), Some(last));
        for (first, count) in [(0, 0), (65_535, 2), (65_536, 1), (0, 65_537)] {
            assert_eq!(readable(&answer(first, count)), None, "{first} {count}");
        }
    }

    #[tokio::test]
    async fn route_is_remembered_for_a_while_by_queue_and_tenant() {
        let (mut routes, now) = (Routes::default(), now());
        let route = Route { first: 3, count: 4 };
        routes.put("chat", "", route, now);
        assert_eq!(routes.get("chat", "", now), Some(route));
        assert_eq!(routes.get("chat", "acme", now), None);
        assert_eq!(routes.get("chat", "", now + KEPT), None);
        routes.forget("chat", "");
        assert_eq!(routes.get("chat", "", now), None);
    }

    #[tokio::test]
    async fn remembered_routes_are_bounded() {
        let (mut routes, now) = (Routes::default(), now());
        for queue in 0..2 * MOST {
            let route = Route { first: 0, count: 1 };
            routes.put(&queue.to_string(), "", route, now);
        }
        assert!(routes.0.len() <= MOST);
    }
}
