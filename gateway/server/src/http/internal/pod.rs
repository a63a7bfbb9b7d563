//! `GET /v1/pod`: what this pod says of itself to the operator.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{HeaderValue, Response, header};
use rtgw_config::pod::PodReport;

use super::Internal;

/// Answers.
pub(super) async fn report(State(internal): State<Arc<Internal>>) -> Response<Body> {
    written(&internal.parts.reporter.report())
}

/// A report within its bound.
pub(super) fn written(report: &PodReport) -> Response<Body> {
    let mut response = Response::new(Body::from(report.to_json()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
