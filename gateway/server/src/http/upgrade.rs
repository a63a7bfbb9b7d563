//! The upgrade: a handshake is checked, admitted, answered, and its socket handed to an I/O shard.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use rtgw_hub::Opening;
use rtgw_model::{Admission, Close};
use rtgw_protocol::websocket::{close, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::{debug, error};

use super::connection::Visitor;
use super::endpoint::{Agreed, Door};
use super::linger::linger;
use super::public::Public;
use super::response;
use crate::auth::{Admitted, ConnectRequest};
use crate::limits;
use crate::refusal::Refusal;
use crate::transport::{Handoff, Inbox, Permit, ShardInput};

/// What a socket becomes after its 101.
pub(super) enum Successor {
    /// A session of a shard.
    Session(Box<Adoption>),
    /// A refusal that the client can read: a close frame, then the end.
    Refused(Close),
}

/// A hand-over that waits for its socket.
pub(super) struct Adoption {
    inbox: std::sync::Arc<dyn Inbox>,
    opening: Opening,
    protocol: crate::transport::SocketProtocol,
    deflate: bool,
    message_bytes: usize,
    permit: Permit,
}

/// Answers a request at an endpoint's path.
pub(super) fn upgrade(public: &Public, index: usize, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let (Some(door), Some(visitor)) = (public.doors.get(index), parts.extensions.remove::<Visitor>()) else {
        error!("a request reached an endpoint past the listener");
        return response::refused(&Refusal::new(500, "internal", "a fault of the server"));
    };
    if !body.is_end_stream() {
        return response::refused(&Refusal::new(400, "bad_handshake", "an opening handshake has no body"));
    }
    let agreed = match (public.parts.negotiate)(&parts, door.compression) {
        Ok(agreed) => agreed,
        Err(refusal) => return response::refused(&refusal),
    };
    let request = ConnectRequest {
        endpoint: door.index,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        ip: visitor.ip,
    };
    let successor = match admit(public, door, &agreed, request) {
        Ok(adoption) => Successor::Session(Box::new(adoption)),
        Err(refusal) if reads_closes(&agreed) => {
            let reason = refusal.retry_after.map(|seconds| format!("after={}", u64::from(seconds) * 1000));
            let reason = reason.map_or(refusal.code.into(), Into::into);
            Successor::Refused(Close { code: refusal.close_code(), reason })
        }
        Err(refusal) => return response::refused(&refusal),
    };
    visitor.become_after_101(successor);
    switching(&agreed)
}

fn admit(
    public: &Public,
    door: &Door,
    agreed: &Agreed,
    request: ConnectRequest,
) -> Result<Adoption, Refusal> {
    let full = |code, message: &'static str| Refusal {
        retry_after: Some(limits::retry_after()),
        ..Refusal::new(503, code, message)
    };
    if public.handshakes.as_ref().is_some_and(|rate| !rate.take()) {
        return Err(full(
            "busy",
            "more connections are opened per second than this pod takes; try again later",
        ));
    }
    let Some(place) = public.parts.connections.take() else {
        return Err(full("full", "this pod holds as many connections as it may; try again later"));
    };
    let Some(inbox) = public.parts.inboxes.get(usize::from(place.shard())) else {
        return Err(Refusal::new(500, "internal", "a fault of the server"));
    };
    let Admitted { key, principal, auto, greeting } = public.parts.admission.admit(request)?;
    let admission = Admission {
        key,
        endpoint: door.ix,
        variant: (public.parts.variant)(door.ix, agreed.window),
        principal,
        greeting,
        heartbeat: door.heartbeat,
        outbox: door.outbox,
        rate: door.rate,
        subscriptions: door.subscriptions,
    };
    Ok(Adoption {
        inbox: std::sync::Arc::clone(inbox),
        opening: Opening { admission, auto },
        protocol: door.protocol,
        deflate: agreed.window.is_some(),
        message_bytes: door.message_bytes,
        permit: Box::new(place),
    })
}

/// Whether the client speaks a protocol of ours: a browser that does cannot see an HTTP answer, but it sees a close code.
fn reads_closes(agreed: &Agreed) -> bool {
    agreed.subprotocol.as_deref().is_some_and(|chosen| chosen.starts_with("rtgw."))
}

fn switching(agreed: &Agreed) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    put(headers, header::SEC_WEBSOCKET_ACCEPT, Some(&agreed.accept));
    put(headers, header::SEC_WEBSOCKET_PROTOCOL, agreed.subprotocol.as_deref());
    put(headers, header::SEC_WEBSOCKET_EXTENSIONS, agreed.extensions.as_deref());
    response
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
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
