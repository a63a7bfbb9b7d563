//! The `rtgw` program: sockets, HTTP, credentials, brokers and sources around the pure crates `hub` and `protocol`.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod client_publishing;
pub mod clock;
pub mod commands;
pub mod console;
pub mod control;
pub mod demo;
pub mod drain;
pub mod expressions;
#[cfg(test)]
mod fixture;
pub mod http;
pub mod intake;
pub mod latest;
pub mod limits;
pub mod manifests;
pub mod metrics;
pub mod numbers;
pub mod outbound;
pub mod pace;
pub mod publishing;
pub mod questions;
pub mod readiness;
pub mod refusal;
pub mod reload;
pub mod revocations;
pub mod rulebook;
pub mod rules;
pub mod running;
pub mod sources;
pub mod telemetry;
pub mod transport;
pub mod watch;
pub mod wiring;
