//! Subscribers that are given their past, one situation at a time; the simulation mixes them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../simulation/lines.rs"]
mod lines;

mod breaks;
mod rig;
mod several;
mod uncarried;
