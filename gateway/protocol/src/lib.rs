//! The wires: bytes to intents and events to bytes, without I/O. One folder per wire; knows only the model.
//!
//! - [`address`] finds out who a client behind balancers and proxies is.
//! - [`json`] reads commands and writes publications, messages and greetings as JSON.
//! - [`msgpack`] carries the same objects as MessagePack.
//! - [`pods`] is what pods tell each other.
//! - [`batch`] joins what goes out in one write.
//! - [`websocket`] makes and takes apart frames.
//! - [`wires`] puts the two together: [`wires::Wires`] is the [`rtgw_model::Encoder`] that the hub is given.
//!
//! ```
//! use rtgw_model::{CommandNames, Encoder};
//! use rtgw_protocol::json::{self, Envelope};
//! use rtgw_protocol::wires::{Protocol, VariantSpec, Wires};
//!
//! // Once per configuration: every way in which an endpoint may write gets a number.
//! let wires = Wires::new();
//! let plain = VariantSpec {
//!     protocol: Protocol::Json,
//!     envelope: Envelope::Typed,
//!     metadata: false,
//!     seq: false,
//!     compression: None,
//! };
//! let variant = wires.intern(plain)?;
//! assert_eq!(wires.variants(), 1);
//!
//! // Per connection: what it says becomes a request, what it hears is a shared frame.
//! let request = json::decode(r#"{"type":"ping","id":7}"#, &CommandNames::default());
//! assert_eq!(request.map(|request| request.id), Ok(Some("7".into())));
//! assert_eq!(&wires.ping(variant)[..], [0x89, 0x00]);
//! # Ok::<(), rtgw_protocol::wires::TooManyVariants>(())
//! ```

pub mod address;
pub mod batch;
pub mod json;
pub mod msgpack;
pub mod pods;
pub mod websocket;
pub mod wires;
