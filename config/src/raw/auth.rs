//! How clients prove who they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api_key::{ApiKey, AuthWebhook};
use super::issuer::Issuer;
use super::token_place::TokenPlace;
use super::units::DurationText;
use crate::defaults;

/// How clients prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Auth {
    /// Whether a client without credentials is let in as nobody (`user` is empty).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Deny"))]
    pub anonymous: Option<Anonymous>,
    /// Where a token may stand; the first place that holds one decides. `Header` is `Authorization: Bearer TOKEN`, `Query` is
    /// `?token=TOKEN` or `?access_token=TOKEN`, `Subprotocol` the offers `bearer, TOKEN`, `ApiKeyHeader` the header `X-API-Key`,
    /// `Cookie:NAME` a cookie, which needs listed origins. With `FirstMessage` a client without a token is let in to send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("default" = defaults::TOKEN_FROM))]
    pub token_from: Option<Vec<TokenPlace>>,
    /// Who signs tokens; the first that fits a token's `alg`, `iss` and key judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub issuers: Option<Vec<Issuer>>,
    /// Keys of programs, asked before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub api_keys: Option<Vec<ApiKey>>,
    /// The application itself, for credentials that are no token of an issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<AuthWebhook>,
    /// Who a token's bearer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// When connections whose token ends are told, and closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
    /// What was revoked before it ended (`POST /v1/revoke`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Origins of browsers that may connect, such as `https://app.example.com`. Empty: only pages of the gateway's own host.
    /// `*` is any, `null` that of files and sandboxes. Clients that send no Origin are always let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)), extend("default" = []))]
    pub allowed_origins: Option<Vec<String>>,
}

/// Whether a client without credentials is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Anonymous {
    /// Refused with 401.
    #[default]
    Deny,
    /// Let in as nobody.
    Allow,
}

/// Who a token's bearer is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Identity {
    /// CEL that gives the user. Sees `claims` and `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = defaults::IDENTITY_USER))]
    pub user: Option<String>,
    /// CEL that gives the tenant. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub tenant: Option<String>,
}

/// What was revoked before it ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Revocation {
    /// What becomes of credentials while a pod that has begun without its Redis cannot know what is revoked. One that has read the list
    /// once goes by what it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Allow"))]
    pub when_unknown: Option<WhenUnknown>,
}

/// What becomes of credentials of which nobody can say whether they are revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum WhenUnknown {
    /// They count.
    #[default]
    Allow,
    /// They are refused with 503, or closed with 1013, until the list has been read.
    Refuse,
}

/// When connections whose token ends are told, and closed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Expiry {
    /// So long before the end the client is told to refresh (`token_expiring`). At most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::EXPIRY_WARN)))]
    pub warn: Option<DurationText>,
    /// So long after the end a connection that did not refresh is closed with 4401. At most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::EXPIRY_GRACE)))]
    pub grace: Option<DurationText>,
}
