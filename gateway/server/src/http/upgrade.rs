//! The upgrade: a handshake is checked, admitted, answered, and its socket handed to an I/O shard.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use rtgw_hub::Opening;
use rtgw_model::{Admission, Close};
use rtgw_protocol::websocket::handshake::{self, Accepted, Headers};
use rtgw_protocol::websocket::{close, frame, subprotocol};
use smallvec::SmallVec;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::connection::Visitor;
use super::endpoint::Door;
use super::linger::linger;
use super::public::Public;
use super::response;
use crate::auth::{Admitted, ConnectRequest};
use crate::limits;
use crate::refusal::Refusal;
use crate::transport::{Handoff, Inbox, Permit, ShardInput, SocketProtocol};

/// The result of a handshake that was admitted, beside the codes of refusals.
const ACCEPTED: &str = "accepted";

/// What a socket becomes after its 101.
pub(super) enum Successor {
    /// A session of a shard.
    Session(Box<Adoption>),
    /// A refusal that the client can read: a close frame, then the end.
    Refused(Close),
}

/// A hand-over that waits for its socket.
pub(super) struct Adoption {
    inbox: Arc<dyn Inbox>,
    opening: Opening,
    protocol: SocketProtocol,
    deflate: bool,
    message_bytes: usize,
    permit: Permit,
}

/// Answers a request at an endpoint's path.
pub(super) fn upgrade(public: &Public, index: usize, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let (Some(door), Some(visitor)) = (public.doors.get(index), parts.extensions.remove::<Visitor>()) else {
        error!("a request reached an endpoint past the listener");
        return response::refused(&internal());
    };
    let count = |result| public.parts.handshakes.count(index, result);
    let accepted = match accept(door, &parts, &body) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            count("bad_handshake");
            return not_a_handshake(refusal);
        }
    };
    match admit(public, door, &accepted, &visitor.stop, &request_of(parts, index, visitor.ip)) {
        Ok(adoption) => {
            count(ACCEPTED);
            visitor.become_after_101(Successor::Session(Box::new(adoption)));
            switching(&accepted)
        }
        Err(refusal) => {
            count(refusal.code);
            // A browser sees no HTTP answer to a handshake, but a client that speaks our protocol reads close codes.
            if accepted.subprotocol != Some(subprotocol::JSON) {
                return response::refused(&refusal);
            }
            visitor.become_after_101(Successor::Refused(close_of(&refusal)));
            switching(&accepted)
        }
    }
}

fn accept(door: &Door, parts: &Parts, body: &Body) -> Result<Accepted, handshake::Refusal> {
    if !body.is_end_stream() {
        return Err(handshake::Refusal::Body);
    }
    let version = if parts.version == Version::HTTP_11 { (1, 1) } else { (1, 0) };
    handshake::accept(parts.method.as_str(), version, &Fields(&parts.headers), door.supported)
}

/// What admission looks at.
pub(super) fn request_of(parts: Parts, endpoint: usize, ip: std::net::IpAddr) -> ConnectRequest {
    let query = parts.uri.query().unwrap_or_default().to_owned();
    ConnectRequest { endpoint, headers: parts.headers, query, ip }
}

/// The steps in the order of the contract: origin, limits of the pod, then credentials and what follows from them.
fn admit(
    public: &Public,
    door: &Door,
    accepted: &Accepted,
    stop: &CancellationToken,
    request: &ConnectRequest,
) -> Result<Adoption, Refusal> {
    let parts = &public.parts;
    parts.admitter.origin(request)?;
    if public.rate.as_ref().is_some_and(|rate| !rate.take()) {
        return Err(unavailable(
            "busy",
            "this pod is asked for more connections per second than it takes; try later",
        ));
    }
    let full = || unavailable("full", "this pod holds as many connections as it may; try later");
    let place = parts.connections.take().ok_or_else(full)?;
    // Asked after the place is taken: a drain stops the listener first and counts the places then, so it sees one of the two.
    if stop.is_cancelled() {
        return Err(unavailable("draining", "this pod is about to end; connect again"));
    }
    let inbox = parts.inboxes.get(usize::from(place.shard())).ok_or_else(internal)?;
    let Admitted { key, principal, auto, greeting } = parts.admitter.admit(request)?;
    let window = accepted.deflate.map(|deflate| deflate.window);
    let user = parts.users.enter(&principal.user);
    let admission = Admission {
        key,
        endpoint: door.ix,
        variant: door.variants.of(window),
        principal,
        greeting,
        heartbeat: door.heartbeat,
        outbox: door.outbox,
        rate: door.rate,
        subscriptions: door.subscriptions,
    };
    Ok(Adoption {
        inbox: Arc::clone(inbox),
        opening: Opening { admission, auto },
        protocol: door.protocol,
        deflate: window.is_some(),
        message_bytes: door.message_bytes,
        permit: Box::new((place, user)),
    })
}

fn unavailable(code: &'static str, message: &'static str) -> Refusal {
    Refusal { retry_after: Some(limits::retry_after()), ..Refusal::new(503, code, message) }
}

fn internal() -> Refusal {
    Refusal::new(500, "internal", "a fault of the server")
}

/// The header fields of a request, as the handshake reads them.
struct Fields<'a>(&'a HeaderMap);

impl Headers for Fields<'_> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + Clone {
        let values: SmallVec<[&[u8]; 4]> = self.0.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        values.into_iter()
    }
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

/// A refusal as a close: the reason names the delay where there is one, else the code of the refusal.
fn close_of(refusal: &Refusal) -> Close {
    let reason = match refusal.retry_after {
        Some(seconds) => format!("after={}", u64::from(seconds) * 1000).into(),
        None => refusal.code.into(),
    };
    Close { code: refusal.close_code(), reason }
}

impl Successor {
    /// Takes the socket and what was read behind the request.
    pub(super) async fn take_over(self, stream: TcpStream, read_ahead: Bytes) {
        match self {
            Self::Session(adoption) => adoption.hand_over(stream, read_ahead),
            Self::Refused(close) => refuse_by_close(stream, &close).await,
        }
    }
}

impl Adoption {
    fn hand_over(self, stream: TcpStream, read_ahead: Bytes) {
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                error!(%error, "cannot take a socket out of the HTTP server");
                return;
            }
        };
        let Self { inbox, opening, protocol, deflate, message_bytes, permit } = self;
        let handoff = Handoff { stream, read_ahead, opening, protocol, deflate, message_bytes, permit };
        if let Err(error) = inbox.post(ShardInput::Adopt(Box::new(handoff))) {
            error!(%error, "a shard did not take a socket");
        }
    }
}

async fn refuse_by_close(mut stream: TcpStream, close: &Close) {
    let mut bytes = Vec::new();
    let payload = close::encode_payload(close.code.code(), &close.reason);
    frame::encode(frame::OpCode::Close, false, &payload, &mut bytes);
    match stream.write_all(&bytes).await {
        Ok(()) => linger(stream).await,
        Err(error) => debug!(%error, "a refused client left before it was told"),
    }
}
