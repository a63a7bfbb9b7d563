//! Channels with delivery policies: held to a rate, or waiting to be written together. Time is virtual and exact.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;
#[path = "../simulation/lines.rs"]
mod lines;
mod properties;
mod rig;
