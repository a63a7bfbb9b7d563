//! Who a connection belongs to.

use std::net::IpAddr;

use bytes::Bytes;

/// The identity that admission established; shared by everything that asks later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user; empty for anonymous.
    pub user: Box<str>,
    /// The tenant; empty where there is none.
    pub tenant: Box<str>,
    /// The claims as raw JSON, kept as bytes: parsed only when a rule asks. Empty for anonymous.
    pub claims: Bytes,
    /// The client's address.
    pub ip: IpAddr,
    /// The query string of the request without credentials.
    pub query: Box<str>,
}
