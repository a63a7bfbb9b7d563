//! Who may ask a pod for its report, in a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may ask a pod for its report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Operator {
    /// What its tokens carry as `aud`: the UID of the object.
    #[schemars(length(min = 1, max = 128))]
    pub audience: String,
    /// Public keys of its tokens: the one that signs, and those that did before or will next.
    #[schemars(length(min = 1, max = 4))]
    pub keys: Vec<OperatorKey>,
}

/// A public key, Ed25519, in the members of a JWK (RFC 8037, section 2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct OperatorKey {
    /// Names it in the header of tokens.
    #[schemars(length(min = 1, max = 128))]
    pub kid: String,
    /// The key's 32 bytes, base64url without padding.
    #[schemars(length(min = 43, max = 43))]
    pub x: String,
}
