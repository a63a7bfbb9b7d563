//! When the holder of a credential that ends is told, and when it is closed.

/// The two distances around the end of a credential, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// So long before the end the client is told to refresh; 0 = at the end.
    pub warn_ms: u32,
    /// So long after the end a connection that did not refresh is closed.
    pub grace_ms: u32,
}
