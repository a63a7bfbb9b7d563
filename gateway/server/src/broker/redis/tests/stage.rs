//! The programs that tests run, as the tests from outside have them.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../../tests/support/places.rs"]
mod places;
#[path = "../../../../tests/support/process.rs"]
pub mod process;
#[path = "../../../../tests/support/redis.rs"]
pub mod redis;

pub use places::*;
