//! What a cluster asks: is the process alive, does the pod want traffic, what are its numbers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::Internal;
use crate::http::response;
use crate::metrics;
use crate::readiness::Verdict;
use crate::refusal::Refusal;

/// The process is alive.
#[derive(Serialize, JsonSchema)]
pub(super) struct Live {
    /// `ok`.
    status: &'static str,
}

/// The verdict and what became of the configuration's files.
#[derive(Serialize, JsonSchema)]
pub(super) struct Detail {
    #[serde(flatten)]
    verdict: Verdict,
    /// `accepted`, or `refused` while the files hold something that does not run.
    config: &'static str,
}

/// How much the caller asks of a ready pod.
#[derive(JsonSchema)]
#[allow(
    dead_code,
    reason = "for the description of the API only: whatever value it has, the parameter counts"
)]
pub(super) struct ReadyQuery {
    /// Whatever its value: 503 also while something is degraded.
    strict: Option<String>,
}

/// `GET /livez`: this thread answers.
pub(super) async fn live() -> Response<Body> {
    response::json(StatusCode::OK, &Live { status: "ok" })
}

/// `GET /readyz`: 503 before the first delivery probe came back and while draining; with `?strict` also while something is
/// degraded. Without it a degraded pod stays: what it holds still works, and another pod would be no better.
pub(super) async fn ready(State(internal): State<Arc<Internal>>, uri: Uri) -> Response<Body> {
    let verdict = internal.parts.readiness.verdict();
    let strict = uri
        .query()
        .is_some_and(|query| query.split('&').any(|part| part == "strict" || part.starts_with("strict=")));
    let ready = verdict.ready && (!strict || verdict.degraded.is_empty());
    let verdict = Detail { verdict, config: internal.parts.running.state() };
    response::json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &verdict)
}

/// `GET /readyz` of a pod that has no configuration to run yet.
pub(super) async fn unready() -> Response<Body> {
    let verdict = Verdict { ready: false, draining: false, degraded: vec!["secrets".into()] };
    response::json(StatusCode::SERVICE_UNAVAILABLE, &Detail { verdict, config: "refused" })
}

/// `GET /metrics`.
pub(super) async fn metrics(State(internal): State<Arc<Internal>>) -> Response<Body> {
    match internal.parts.metrics.text().await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(_) => response::refused(&Refusal::new(500, "internal", "the metrics could not be written")),
    }
}
