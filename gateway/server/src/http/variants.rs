//! Which bytes each endpoint sends: the configuration's endpoints as variants of the encoder.

use rtgw_config::checked::{Checked, Compression, Endpoint, Envelope, Protocol};
use rtgw_model::Variant;
use rtgw_protocol::json;
use rtgw_protocol::websocket::deflate::Window;
use rtgw_protocol::wires::{self, TooManyVariants, VariantSpec, Wires};

/// The variants of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointVariants {
    plain: Variant,
    bits12: Variant,
    bits9: Variant,
}

impl EndpointVariants {
    /// The variant of a connection that negotiated `window`.
    pub fn of(self, window: Option<Window>) -> Variant {
        match window {
            None => self.plain,
            Some(Window::Bits12) => self.bits12,
            Some(Window::Bits9) => self.bits9,
        }
    }
}

/// The encoder of a configuration, and the variants of its endpoints in their order.
///
/// # Errors
/// [`TooManyVariants`].
pub fn variants(config: &Checked) -> Result<(Wires, Vec<EndpointVariants>), TooManyVariants> {
    let mut wires = Wires::new();
    let endpoints = config.endpoints.iter().map(|endpoint| {
        Ok(EndpointVariants {
            plain: wires.intern(spec(endpoint, None))?,
            bits12: wires.intern(spec(endpoint, Some(Window::Bits12)))?,
            bits9: wires.intern(spec(endpoint, Some(Window::Bits9)))?,
        })
    });
    let endpoints = endpoints.collect::<Result<_, _>>()?;
    Ok((wires, endpoints))
}

fn spec(endpoint: &Endpoint, window: Option<Window>) -> VariantSpec {
    let min_bytes = match endpoint.compression {
        Compression::None => None,
        Compression::Shared { min_bytes } => Some(min_bytes),
    };
    VariantSpec {
        protocol: match endpoint.protocol {
            Protocol::Json => wires::Protocol::Json,
            Protocol::Echo => wires::Protocol::Echo,
        },
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
