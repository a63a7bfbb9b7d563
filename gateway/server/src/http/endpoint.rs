//! One endpoint as admission needs it: its settings in the shapes that a session takes.

use std::time::Duration;

use rtgw_config::checked::{Checked, Compression, Endpoint, Protocol};
use rtgw_model::{EndpointIx, Heartbeat, InboundRate, OutboxLimits};
use rtgw_protocol::websocket::deflate::Window;

use crate::auth::{Admitted, ConnectRequest};
use crate::refusal::Refusal;
use crate::transport::SocketProtocol;

/// Asks whether a request may be upgraded.
pub trait Admission: Send + Sync {
    /// Answers without waiting.
    fn admit(&self, request: ConnectRequest) -> Result<Admitted, Refusal>;
}

/// What a valid opening handshake agreed on.
#[derive(Clone, Debug, Default)]
pub struct Agreed {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Protocol` of the answer.
    pub subprotocol: Option<String>,
    /// `Sec-WebSocket-Extensions` of the answer.
    pub extensions: Option<String>,
    /// The window of permessage-deflate, where it was negotiated.
    pub window: Option<Window>,
}

/// Checks an opening handshake; the flag says whether compression is on offer.
pub type Negotiate = fn(&http::request::Parts, bool) -> Result<Agreed, Refusal>;

/// An endpoint's settings.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) index: usize,
    pub(super) ix: EndpointIx,
    pub(super) protocol: SocketProtocol,
    pub(super) compression: bool,
    pub(super) heartbeat: Heartbeat,
    pub(super) outbox: OutboxLimits,
    pub(super) rate: Option<InboundRate>,
    pub(super) subscriptions: u32,
    pub(super) message_bytes: usize,
}

impl Door {
    pub(super) fn new(config: &Checked, index: usize, endpoint: &Endpoint) -> Self {
        let limits = &config.limits;
        Self {
            index,
            ix: EndpointIx(u16::try_from(index).unwrap_or(u16::MAX)),
            protocol: match endpoint.protocol {
                Protocol::Json => SocketProtocol::Json,
                Protocol::Echo => SocketProtocol::Echo,
            },
            compression: matches!(endpoint.compression, Compression::Shared { .. }),
            heartbeat: Heartbeat {
                interval_ms: millis(endpoint.heartbeat.interval),
                timeout_ms: millis(endpoint.heartbeat.timeout),
                idle_ms: endpoint.heartbeat.idle.map_or(0, millis),
            },
            outbox: OutboxLimits { bytes: limits.queue_bytes, messages: limits.queue_messages },
            rate: limits
                .messages_per_second
                .map(|per_second| InboundRate { per_second, burst: limits.burst }),
            subscriptions: limits.subscriptions,
            message_bytes: limits.message_bytes,
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
