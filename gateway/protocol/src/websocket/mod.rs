//! WebSocket: the handshake (RFC 6455 section 4), frames (section 5) and permessage-deflate (RFC 7692), without I/O.

pub mod close;
pub mod decoder;
pub mod deflate;
pub mod extension;
pub mod frame;
pub mod handshake;
mod header;
mod inflate;
mod mask;
mod message;
pub mod subprotocol;
mod utf8;
mod violation;

pub use decoder::{Decoder, Flow, Incoming, Progress, Rules};
pub use violation::Violation;
