//! A gateway as it runs in a pod: its configuration and its Secrets are mounted, and the operator asks how it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, unreachable_pub)]

mod config;
mod drain;
mod secrets;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
