//! The contract between the operator, who writes a configuration, and the gateway, who reads it: raw -> [`Checked`].
//!
//! Checking is pure: no file, no clock, no network. It returns every problem with its path, or a value that needs no further check.

pub mod checked;
pub mod expression;
pub mod pattern;
mod suggest;
pub mod template;

pub use checked::Checked;
