//! The contract between the operator, who writes a configuration, and the gateway, who reads it: raw -> [`Checked`].
//!
//! Checking is pure: no file, no clock, no network. It returns every problem with its path, or a value that needs no further check.

pub mod changes;
mod check;
pub mod checked;
pub mod classes;
mod credentials;
pub mod defaults;
pub mod expression;
pub mod pattern;
pub mod pod;
pub mod problem;
pub mod public_key;
pub mod raw;
pub mod references;
pub mod schema;
pub mod secrets;
pub mod shape;
pub mod suggest;
pub mod template;
pub mod unbuilt;
pub mod url;
mod ways_in;
pub mod yaml;

pub use check::{Accepted, check, check_operator, check_without_secrets};
pub use checked::Checked;
pub use problem::{Problem, Problems, Severity};
pub use secrets::Secrets;
