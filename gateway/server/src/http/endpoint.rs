//! One endpoint as admission needs it: its settings in the shapes that a session takes.

use std::time::Duration;

use rtgw_config::checked::{Checked, Compression, Endpoint, Protocol};
use rtgw_model::{EndpointIx, Heartbeat, InboundRate, OutboxLimits};
use rtgw_protocol::websocket::handshake::Supported;
use rtgw_protocol::websocket::subprotocol;

use super::variants::EndpointVariants;
use crate::transport::SocketProtocol;

/// An endpoint's settings.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) ix: EndpointIx,
    pub(super) protocol: SocketProtocol,
    /// What a handshake can agree on.
    pub(super) supported: Supported<'static>,
    pub(super) variants: EndpointVariants,
    pub(super) heartbeat: Heartbeat,
    pub(super) outbox: OutboxLimits,
    pub(super) rate: Option<InboundRate>,
    pub(super) subscriptions: u32,
    pub(super) message_bytes: usize,
}

impl Door {
    pub(super) fn new(
        config: &Checked,
        ix: EndpointIx,
        endpoint: &Endpoint,
        variants: EndpointVariants,
    ) -> Self {
        let limits = &config.limits;
        let (protocol, subprotocols): (_, &'static [&'static str]) = match endpoint.protocol {
            Protocol::Json => (SocketProtocol::Json, &[subprotocol::JSON, subprotocol::MSGPACK]),
            Protocol::Echo => (SocketProtocol::Echo, &[]),
        };
        Self {
            ix,
            protocol,
            supported: Supported {
                subprotocols,
                deflate: matches!(endpoint.compression, Compression::Shared { .. }),
            },
            variants,
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
