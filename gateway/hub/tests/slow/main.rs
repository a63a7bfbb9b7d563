//! Sockets that take less than there is for them: what gives, what the client is told, and what all of it holds of the pod's memory.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../simulation/lines.rs"]
mod lines;

mod exact;
mod memory;
mod policies;
mod rig;
