//! A refused HTTP request: what every admission step answers with, and what `http` turns into a response.

use std::borrow::Cow;

use rtgw_model::CloseCode;

/// Why a request is refused, before any upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable code of the body's `error.code`.
    pub code: &'static str,
    /// One sentence for the developer: what was wrong and what to do. Never contains a credential.
    pub message: Cow<'static, str>,
    /// Seconds for `Retry-After`, already jittered (429 and 503).
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal without `Retry-After`.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The close code for clients that cannot see HTTP answers (those that offer an `rtgw.*` subprotocol).
    pub fn close_code(&self) -> CloseCode {
        match self.status {
            401 => CloseCode::Unauthenticated,
            429 => CloseCode::RateLimited,
            503 => CloseCode::Overloaded,
            403 | 404 => CloseCode::Forbidden,
            413 => CloseCode::TooBig,
            500 => CloseCode::Internal,
            _ => CloseCode::ProtocolError,
        }
    }
}
