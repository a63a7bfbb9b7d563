//! The rules of the repository that no compiler checks; each test names the offenders.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod chart;
mod crates;
mod documents;
mod examples;
mod parts;
mod secrets;
mod sources;

/// Fails with one line per offender.
#[track_caller]
fn assert_none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}
