//! Keys of programs, and the application's own judgement of credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::units::{DurationText, SecretRef};
use crate::defaults;

/// A key that a program presents as it stands.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ApiKey {
    /// Unique name, for logs and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key: visible ASCII without spaces, at least 16 bytes.
    pub secret_ref: SecretRef,
    /// What it is for: `connect`, `publish:PATTERN` (`publish:*` for every channel), `subscribe`, `presence`, `disconnect`, `revoke`,
    /// `read`, `admin`.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 263)))]
    pub scopes: Vec<String>,
    /// Claims of a connection made with it (`connect`); `sub` is the key's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Map<String, Value>>,
}

/// The application, asked about credentials that are no token of an issuer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct AuthWebhook {
    /// Its address: `https://…`, or `http://…` within the cluster or to `localhost`. It is sent
    /// `{credential, place, endpoint, ip, query}` and answers `{sub, claims, exp}` or 401.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// For an answer. From 100ms to 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::WEBHOOK_TIMEOUT)))]
    pub timeout: Option<DurationText>,
    /// How long a good answer counts, at most until its `exp`. From 1s to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::WEBHOOK_CACHE_FOR)))]
    pub cache_for: Option<DurationText>,
    /// Questions under way at once; some more wait, others are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), extend("default" = defaults::WEBHOOK_MAX_IN_FLIGHT))]
    pub max_in_flight: Option<u32>,
    /// Signs the questions (`X-RTGW-Signature-256`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}
