//! Which bytes each endpoint sends: the configuration's endpoints as variants of the encoder.

use rtgw_config::checked::{Checked, Compression, Endpoint, Envelope, Protocol};
use rtgw_model::Variant;
use rtgw_protocol::json;
use rtgw_protocol::websocket::deflate::Window;
use rtgw_protocol::wires::{self, TooManyVariants, VariantSpec, Wires};

use crate::transport::SocketProtocol;

/// The variants of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointVariants {
    own: ByWindow,
    msgpack: ByWindow,
}

#[derive(Clone, Copy, Debug)]
struct ByWindow {
    plain: Variant,
    bits12: Variant,
    bits9: Variant,
}

impl EndpointVariants {
    /// The variant of a connection that speaks `protocol` and negotiated `window`.
    pub fn of(self, protocol: SocketProtocol, window: Option<Window>) -> Variant {
        let variants = match protocol {
            SocketProtocol::Json | SocketProtocol::Echo => self.own,
            SocketProtocol::MessagePack => self.msgpack,
        };
        match window {
            None => variants.plain,
            Some(Window::Bits12) => variants.bits12,
            Some(Window::Bits9) => variants.bits9,
        }
    }
}

/// The variants of a configuration's endpoints in their order; those that `wires` does not have yet are added.
///
/// # Errors
/// [`TooManyVariants`].
pub fn variants(config: &Checked, wires: &Wires) -> Result<Vec<EndpointVariants>, TooManyVariants> {
    let endpoint = |endpoint: &Endpoint| {
        let own = match endpoint.protocol {
            Protocol::Json => wires::Protocol::Json,
            Protocol::Echo => wires::Protocol::Echo,
        };
        let by_window = |protocol| {
            Ok(ByWindow {
                plain: wires.intern(spec(endpoint, protocol, None))?,
                bits12: wires.intern(spec(endpoint, protocol, Some(Window::Bits12)))?,
                bits9: wires.intern(spec(endpoint, protocol, Some(Window::Bits9)))?,
            })
        };
        let own_variants = by_window(own)?;
        let msgpack = match endpoint.protocol {
            Protocol::Json => by_window(wires::Protocol::MessagePack)?,
            Protocol::Echo => own_variants,
        };
        Ok(EndpointVariants { own: own_variants, msgpack })
    };
    config.endpoints.iter().map(endpoint).collect()
}

fn spec(endpoint: &Endpoint, protocol: wires::Protocol, window: Option<Window>) -> VariantSpec {
    let min_bytes = match endpoint.compression {
        Compression::None => None,
        Compression::Shared { min_bytes } => Some(min_bytes),
    };
    VariantSpec {
        protocol,
        envelope: match endpoint.envelope {
            Envelope::Typed => json::Envelope::Typed,
            Envelope::Event => json::Envelope::Event,
            Envelope::Raw => json::Envelope::Raw,
        },
        metadata: endpoint.metadata,
        seq: endpoint.seq,
        compression: window
            .zip(min_bytes)
            .map(|(window, min_bytes)| wires::Compression { window, min_bytes }),
    }
}
