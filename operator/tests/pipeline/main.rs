//! The pipeline in conversation with an API server: what it asks, what it writes, and above all what it leaves alone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod changes;
mod fake;
mod making;
mod refusals;
mod world;
