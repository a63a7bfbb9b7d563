//! What the operator's token says.

use serde::{Deserialize, Serialize};

/// The claims of the token that the operator shows to a pod: a JWT (RFC 7519) signed with EdDSA, whose header names the key by `kid`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Claims {
    /// The UID of the object whose pod is asked: a token for one object is of no use at another's.
    pub aud: String,
    /// When it was made, Unix seconds.
    pub iat: u64,
    /// When it ends, Unix seconds; at most [`super::TOKEN_SECONDS`] after `iat`.
    pub exp: u64,
}
