//! The `rtgw` program: sockets, HTTP, credentials, brokers and sources around the pure crates `hub` and `protocol`.

pub mod auth;
pub mod broker;
pub mod http;
pub mod limits;
pub mod refusal;
pub mod transport;
