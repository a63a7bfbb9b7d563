//! Routes of the contract that this version does not carry out.

use axum::body::Body;
use http::Response;

use crate::http::response;
use crate::refusal::Refusal;

/// `GET /v1/presence/{channel}`.
pub(super) async fn presence() -> Response<Body> {
    not_available("presence is not in this version")
}

/// `GET /v1/history/{channel}`.
pub(super) async fn history() -> Response<Body> {
    not_available("history is not in this version")
}

fn not_available(message: &'static str) -> Response<Body> {
    response::refused(&Refusal::new(404, "not_available", message))
}
