//! Routes of the contract that this version does not carry out.

use axum::body::Body;
use http::Response;

use crate::http::response;
use crate::refusal::Refusal;

/// `GET /v1/history/{channel}`.
pub(super) async fn history() -> Response<Body> {
    not_available("history is not in this version")
}

fn not_available(message: &'static str) -> Response<Body> {
    response::refused(&Refusal::new(404, "not_available", message))
}
