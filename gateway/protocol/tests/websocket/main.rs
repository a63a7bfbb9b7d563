//! The WebSocket codec from outside: vectors, properties, and tungstenite as an independent reader and writer.

#![allow(clippy::unwrap_used, clippy::panic)]

mod client;
mod deflate;
mod handshake;
mod observe;
mod oracle;
mod properties;
mod vectors;
