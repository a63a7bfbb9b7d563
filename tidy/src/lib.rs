//! Reads the repository as text for the tests in `tests/tidy`, which state its rules.

mod metadata;
mod rust;
mod tree;

pub use metadata::{Metadata, Package};
pub use rust::{code_of, modules_declared, modules_used, shipped, test_modules};
pub use tree::{File, files, root};
