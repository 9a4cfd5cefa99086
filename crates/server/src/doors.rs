//! What a call hears that came through the wrong door, or from another version.
//!
//! A node has two ports, and they are easily mistaken for each other in a configuration. What answers a call that no
//! service takes should then say where it came to and where it wants to go, and not only that nobody is at home.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use leasehold_api::ApiError;
use leasehold_types::{ErrorCode, NodeId};
use tonic::Status;

use crate::peers::LocalNode;

/// The protocol that clients and workers speak with a node; the name of the package is its version.
const PACKAGE: &str = "leasehold.v1";
/// The one service behind the door for nodes.
const PEERS: &str = "leasehold.v1.Peers";

/// One of a node's two doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// For clients, workers and pages.
    Clients,
    /// For the other nodes.
    Peers,
}

/// Which node it is, and where its doors are.
#[derive(Debug, Clone)]
pub(crate) struct House {
    pub(crate) node: NodeId,
    pub(crate) client_address: String,
    pub(crate) peer_address: String,
}

impl From<&LocalNode> for House {
    fn from(local: &LocalNode) -> Self {
        Self {
            node: local.node,
            client_address: local.client_address.clone(),
            peer_address: local.peer_address.clone(),
        }
    }
}

impl House {
    /// Has a door's calls that no service takes answered.
    pub(crate) fn answer_strays(self, door: Door, router: axum::Router) -> axum::Router {
        router.fallback(move |request: Request| {
            let answer = self.answer(door, &request);
            async move { answer }
        })
    }

    fn answer(&self, door: Door, request: &Request) -> Response {
        let path = request.uri().path();
        if is_call(request) {
            let error = ApiError::new(ErrorCode::Unsupported, self.why_not(door, path));
            return Status::from(error).into_http::<axum::body::Body>();
        }
        let status = match door {
            Door::Clients => StatusCode::NOT_FOUND,
            Door::Peers => StatusCode::MISDIRECTED_REQUEST,
        };
        let text = format!("{}\n", self.why_no_page(door, path));
        (status, text).into_response()
    }

    fn why_not(&self, door: Door, path: &str) -> String {
        let service = path.trim_start_matches('/');
        let service = service.split_once('/').map_or(service, |(name, _)| name);
        let package = service.rsplit_once('.').map_or("", |(package, _)| package);
        if package != PACKAGE {
            let node = self.node;
            return format!(
                "node {node} speaks {PACKAGE} and was called for {service}: \
                 use a client of its version, or upgrade the node"
            );
        }
        match (door, service == PEERS) {
            (Door::Clients, true) | (Door::Peers, false) => self.other_door(door),
            (Door::Clients | Door::Peers, _) => {
                let node = self.node;
                format!("node {node} does not know {service}: upgrade it to use that")
            }
        }
    }

    fn why_no_page(&self, door: Door, path: &str) -> String {
        match door {
            Door::Clients => format!("there is no page {path}: see /healthz, /readyz and /metrics"),
            Door::Peers => self.other_door(door),
        }
    }

    fn other_door(&self, door: Door) -> String {
        let node = self.node;
        match door {
            Door::Clients => {
                let right = &self.peer_address;
                format!(
                    "this is the client port of node {node}: other nodes use its peer port, {right}"
                )
            }
            Door::Peers => {
                let right = &self.client_address;
                format!(
                    "this is the peer port of node {node}: clients and workers use its client port, {right}"
                )
            }
        }
    }
}

fn is_call(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn house() -> House {
        House {
            node: NodeId::new(7),
            client_address: "here:1".to_owned(),
            peer_address: "here:2".to_owned(),
        }
    }

    fn call(door: Door, path: &str) -> ApiError {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::empty())
            .unwrap();
        let answer = house().answer(door, &request);
        ApiError::from(Status::from_header_map(answer.headers()).unwrap())
    }

    #[test]
    fn call_at_the_wrong_door_is_told_the_right_one() {
        let client = call(Door::Peers, "/leasehold.v1.Jobs/Submit");
        let node = call(Door::Clients, "/leasehold.v1.Peers/Join");
        for (error, here, there) in [
            (client, "peer port", "here:1"),
            (node, "client port", "here:2"),
        ] {
            assert_eq!(error.code, ErrorCode::Unsupported);
            let message = &error.message;
            assert!(message.contains(&format!("{here} of node n7")), "{message}");
            assert!(message.ends_with(there), "{message}");
        }
    }

    #[test]
    fn client_of_another_protocol_is_told_both() {
        for door in [Door::Clients, Door::Peers] {
            let message = call(door, "/leasehold.v2.Jobs/Submit").message;
            assert!(message.contains("speaks leasehold.v1"), "{message}");
            assert!(message.contains("leasehold.v2.Jobs"), "{message}");
        }
    }

    #[test]
    fn service_of_a_newer_version_is_named() {
        let message = call(Door::Clients, "/leasehold.v1.Drills/Start").message;
        assert!(
            message.contains("leasehold.v1.Drills: upgrade"),
            "{message}"
        );
    }

    #[test]
    fn page_at_the_door_for_nodes_is_told_where_pages_are() {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let answer = house().answer(Door::Peers, &request);
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
        let answer = house().answer(Door::Clients, &request);
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
}
