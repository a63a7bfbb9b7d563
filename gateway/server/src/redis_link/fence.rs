//! A right that may be lost at any time, and is checked where that is known: in Redis, in the step that writes.

/// Whoever writes under it writes only while `key` holds `token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Where the right is kept.
    pub key: String,
    /// What is there while it is ours.
    pub token: String,
}
