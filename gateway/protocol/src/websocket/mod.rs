//! WebSocket: the handshake (RFC 6455 section 4), frames (section 5) and permessage-deflate (RFC 7692), without I/O.

pub mod close;
pub mod deflate;
pub mod frame;
