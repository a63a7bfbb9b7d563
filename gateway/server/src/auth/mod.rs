//! Credentials to a principal, before the upgrade: origin, credential, identity, `admit`, auto-subscriptions, greeting, in this order.
//!
//! Everything here computes on the calling thread and never waits.

mod admitter;
mod credential;
mod greeting;
mod identity;
mod origin;
mod token;

#[cfg(test)]
mod admitter_tests;
#[cfg(test)]
mod token_tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rtgw_hub::Grant;
use rtgw_model::{ConnectionKey, Principal};

pub use admitter::Admitter;
pub use token::{TOKEN_BYTES, TokenError};

/// What admission looks at. `Debug` shows neither headers nor query: both may hold credentials.
#[derive(Clone)]
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

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("endpoint", &self.endpoint)
            .field("ip", &self.ip)
            .finish_non_exhaustive()
    }
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
