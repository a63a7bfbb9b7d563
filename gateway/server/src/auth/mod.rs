//! Credentials to a principal, before the upgrade.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rtgw_hub::Grant;
use rtgw_model::{ConnectionKey, Principal};

/// What admission looks at.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// Index in the configuration's endpoints.
    pub endpoint: usize,
    /// The request's headers.
    pub headers: http::HeaderMap,
    /// The raw query string.
    pub query: String,
    /// The client's address.
    pub ip: IpAddr,
}

/// A request that may be upgraded.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The new connection's public id.
    pub key: ConnectionKey,
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Auto-subscriptions, each granted.
    pub auto: Vec<Grant>,
    /// The first message's payload (JSON text, no frame around it).
    pub greeting: Option<Bytes>,
}
