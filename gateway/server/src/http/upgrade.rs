//! The upgrade: a handshake is checked, admitted, answered, and its socket handed to an I/O shard.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use rtgw_model::Close;
use rtgw_protocol::websocket::handshake::{self, Accepted};
use rtgw_protocol::websocket::subprotocol;
use tokio::net::TcpStream;
use tracing::error;

use super::admission::{self, Adoption, Candidate, Entry};
use super::connection::Visitor;
use super::endpoint::Door;
use super::places::Taken;
use super::public::Public;
use super::wire::{Offer, Wire};
use super::{farewell, first_message, response};
use crate::auth::ConnectRequest;
use crate::refusal::Refusal;

/// The result of a handshake that was admitted, beside the codes of refusals.
pub(super) const ACCEPTED: &str = "accepted";

/// What a socket becomes after its 101.
pub(super) enum Successor {
    /// A session of a shard.
    Session(Box<Adoption>),
    /// One that still has to say who it is.
    Awaited(Box<Candidate>),
    /// A refusal that the client can read: a close frame, then the end.
    Refused(Close),
}

/// Answers a request at an endpoint's path.
pub(super) async fn upgrade(public: &Arc<Public>, index: usize, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let (Some(door), Some(visitor)) = (public.doors.get(index), parts.extensions.remove::<Visitor>()) else {
        error!("a request reached an endpoint past the listener");
        return response::refused(&admission::internal());
    };
    let count = |result| public.parts.handshakes.count(door.ix, result);
    let (accepted, wire) = match accept(door, &parts, &body) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            count("bad_handshake");
            return not_a_handshake(refusal);
        }
    };
    let entering = async {
        let request = request_of(public, parts, index, visitor.ip)?;
        let (public, stop) = (Arc::clone(public), visitor.stop.clone());
        Candidate { public, request, wire, stop, taken: Taken::default() }.enter().await
    };
    let successor = match entering.await {
        Ok(Entry::Session(adoption)) => {
            count(ACCEPTED);
            Successor::Session(adoption)
        }
        Ok(Entry::Awaited(candidate)) => Successor::Awaited(candidate),
        Err(refusal) => {
            count(refusal.code);
            // A browser sees no HTTP answer to a handshake, but a client that speaks our protocol reads close codes.
            if !subprotocol::reads_close_codes(accepted.subprotocol) {
                return response::refused(&refusal);
            }
            Successor::Refused(farewell::close_of(&refusal))
        }
    };
    visitor.become_after_101(successor);
    switching(&accepted)
}

fn accept(door: &Door, parts: &Parts, body: &Body) -> Result<(Accepted, Wire), handshake::Refusal> {
    if !body.is_end_stream() {
        return Err(handshake::Refusal::Body);
    }
    let version = if parts.version == Version::HTTP_11 { (1, 1) } else { (1, 0) };
    let (method, query) = (parts.method.as_str(), parts.uri.query());
    Offer { method, version, headers: &parts.headers, query }.accept(door)
}

/// What admission looks at; the connection's address is that of the client or of a proxy.
///
/// # Errors
/// 400 where proxies do not say clearly who the client is.
pub(super) fn request_of(
    public: &Public,
    parts: Parts,
    endpoint: usize,
    connection: IpAddr,
) -> Result<ConnectRequest, Refusal> {
    let ip = public.addresses.of_request(connection, &parts.headers)?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Ok(ConnectRequest { endpoint, headers: parts.headers, query, ip })
}

fn not_a_handshake(refusal: handshake::Refusal) -> Response<Body> {
    let body = Refusal::new(refusal.status(), "bad_handshake", refusal.to_string());
    let mut response = response::refused(&body);
    for (name, value) in refusal.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn switching(accepted: &Accepted) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in accepted.headers() {
        // Every value is a constant or base64.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

impl Successor {
    /// Takes the socket and what was read behind the request.
    pub(super) async fn take_over(self, stream: TcpStream, read_ahead: Bytes) {
        match self {
            Self::Session(adoption) => adoption.hand_over(stream, read_ahead),
            // Boxed, because every connection would have to be as large otherwise.
            Self::Awaited(candidate) => Box::pin(first_message::hear(*candidate, stream, read_ahead)).await,
            Self::Refused(close) => Box::pin(farewell::say(stream, close.code.code(), &close.reason)).await,
        }
    }
}
