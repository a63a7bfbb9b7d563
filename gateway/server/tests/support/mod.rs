//! Real programs for tests against a running gateway: the gateway itself, Redis, clients in other languages, a browser.
//!
//! What is started here ends with its value. Nothing is skipped where a program is missing: the test fails and says how to get it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::expect_used)]

pub mod browser;
pub mod frontend;
pub mod gateway;
pub mod http;
mod places;
pub mod process;
pub mod redis;
pub mod socket;

pub use places::*;
