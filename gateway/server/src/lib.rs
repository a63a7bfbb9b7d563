//! The `rtgw` program: sockets, HTTP, credentials, brokers and sources around the pure crates `hub` and `protocol`.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod console;
pub mod expressions;
pub mod http;
pub mod intake;
pub mod limits;
pub mod manifests;
pub mod metrics;
pub mod publishing;
pub mod readiness;
pub mod refusal;
pub mod sources;
pub mod transport;
