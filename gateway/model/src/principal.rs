//! Who a connection belongs to.

use std::net::IpAddr;

use crate::Timestamp;

/// The identity that admission established; shared by everything that asks later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user; empty for anonymous.
    pub user: Box<str>,
    /// The tenant; empty where there is none.
    pub tenant: Box<str>,
    /// The claims as raw JSON: parsed only when a rule asks. Empty for anonymous.
    pub claims: Box<str>,
    /// The client's address.
    pub ip: IpAddr,
    /// The query string of the request without credentials.
    pub query: Box<str>,
    /// When the credential ends, by the wall clock: the connection is warned before and closed after. `None` where it never ends
    /// or nobody can tell.
    pub expires: Option<Timestamp>,
}

const _: () = {
    // One per connection; with the two counters of its `Arc` it fits an allocation of 128 bytes.
    assert!(size_of::<Principal>() <= 112, "a principal is paid by every idle connection");
};
