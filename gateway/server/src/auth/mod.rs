//! Credentials to a principal, before the upgrade: origin, credential, identity, `admit`, auto-subscriptions, greeting, in this order.
//! What is asked in between, such as limits, is asked by the caller.
//!
//! Everything here computes on the calling thread. Only the judgement of a credential may wait, for those who must be asked about it.

mod admitter;
mod api_keys;
mod credential;
mod credentials;
mod greeting;
mod identity;
mod jwks;
mod jws;
mod key;
mod key_set;
mod operator;
mod origin;
mod remembered;
mod sign;
mod token;
mod token_error;
mod verdict;
mod webhook;

#[cfg(test)]
mod admitter_tests;
#[cfg(test)]
mod algorithm_tests;
#[cfg(test)]
mod credentials_tests;
#[cfg(test)]
mod key_set_tests;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod token_tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rtgw_hub::Grant;
use rtgw_model::{ConnectionKey, Principal};

pub use admitter::Admitter;
pub use api_keys::{ApiKey, ApiKeys};
pub use credential::{Credential, Place, of_program as credential_of_program};
pub use credentials::Credentials;
pub use operator::judge_operator;
pub use sign::sign;
pub use token_error::{TOKEN_BYTES, TokenError};
pub use verdict::{AuthError, Verified};
pub use webhook::Question;

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

/// What a request says of who sends it.
#[derive(Debug)]
pub struct Presented<'r> {
    /// The credential of the first place that holds one.
    pub credential: Option<Credential<'r>>,
    /// There is none, and the endpoint wants it as the client's first message.
    pub awaited: bool,
    /// The query string without credentials.
    pub query: Box<str>,
}

/// Somebody known, whom nothing has admitted yet.
#[derive(Clone, Debug)]
pub struct Identified {
    /// Index in the configuration's endpoints.
    pub endpoint: usize,
    /// The new connection's public id.
    pub key: ConnectionKey,
    /// Who it is.
    pub principal: Principal,
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
