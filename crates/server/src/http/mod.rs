//! The plain HTTP side of a node, on the same port as gRPC: whether it lives, whether it takes work, what it counts.
//!
//! `/healthz` answers as long as the process can answer anything: a supervisor restarts on its silence. `/readyz` says
//! whether to send work here, and if not, why not: a balancer goes by it. A node that is catching up or stopping is
//! alive and not ready; to mix the two would have it restarted while it recovers.

mod readiness;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub use readiness::{Readiness, Ready};

use crate::disk::RoomGate;
use crate::metrics::{HttpStatus, Metrics};

/// OpenMetrics, as `prometheus-client` writes it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct HttpState {
    /// Whether the node takes work.
    pub readiness: Readiness,
    /// What it counts.
    pub metrics: Metrics,
    /// Whether it has room for new jobs.
    pub room: RoomGate,
}

/// The node's pages: `/healthz`, `/readyz` and `/metrics`.
pub fn routes(state: HttpState) -> axum::Router {
    let count = middleware::from_fn_with_state(state.metrics.clone(), counted);
    axum::Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route_layer(count)
        .with_state(state)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(state): State<HttpState>) -> Response {
    match state.readiness.now() {
        Ready::Yes => ready(&state.room).into_response(),
        Ready::No(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// SUBTLE: short of space is not unready. The node still forwards new jobs to other shards' leaders, and takes results.
fn ready(room: &RoomGate) -> String {
    match room.shortage() {
        None => "ready\n".to_owned(),
        Some(shortage) => format!("ready\nno new jobs: {shortage}\n"),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        state.metrics.encode(),
    )
        .into_response()
}

async fn counted(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    metrics.http_answered(HttpStatus::of(response.status().as_u16()));
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{DiskRoom, RoomLevel};
    use axum::body::{Body, to_bytes};
    use tokio::sync::watch;
    use tower::ServiceExt;

    fn state() -> HttpState {
        let metrics = Metrics::new("0.1.0", "eu");
        HttpState {
            readiness: Readiness::new("starting", metrics.clone()),
            metrics,
            room: gate(DiskRoom::default()),
        }
    }

    fn gate(room: DiskRoom) -> RoomGate {
        RoomGate::new(watch::channel(room).1, Path::new("/data"))
    }

    async fn page(state: &HttpState, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes(state.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn node_is_alive_before_it_is_ready_and_says_what_it_waits_for() {
        let state = state();
        assert_eq!(page(&state, "/healthz").await.0, StatusCode::OK);
        let (status, why) = page(&state, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(why, "starting\n");
        state.readiness.set(Ready::Yes);
        assert_eq!(page(&state, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn node_without_room_for_new_jobs_is_ready_and_says_so() {
        let short = DiskRoom {
            level: RoomLevel::Low,
            ..DiskRoom::default()
        };
        let state = HttpState {
            room: gate(short),
            ..state()
        };
        state.readiness.set(Ready::Yes);
        let (status, text) = page(&state, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            text.contains("no new jobs: the volume of data folder /data"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn metrics_page_counts_its_own_readers() {
        let state = state();
        page(&state, "/healthz").await;
        let (status, text) = page(&state, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        let counted = "leasehold_http_responses_total{status=\"2xx\"} 1";
        assert!(text.contains(counted), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
