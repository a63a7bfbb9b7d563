//! Who signs tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{DurationText, SecretRef};
use crate::defaults;

/// Who signs tokens. Its keys stand in a Secret (`secretRef`) or are fetched (`jwks`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Issuer {
    /// Unique name, for logs and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Accepted signatures. Beside `jwks` the default is `[RS256]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("default" = ["HS256"]))]
    pub algorithms: Option<Vec<Algorithm>>,
    /// HS256, HS384, HS512: the signing key, at least 32, 48 or 64 bytes, taken as it stands. Other algorithms: public keys in PEM
    /// (`PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`), at most 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// What signed before; accepted too, until this field is taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_ref: Option<SecretRef>,
    /// Keys that the issuer publishes, instead of `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// The `iss` that tokens must carry. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// Tokens must carry one of these as `aud`. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 2048)))]
    pub audience: Option<Vec<String>>,
    /// Tolerated difference between clocks. At most 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::LEEWAY)))]
    pub leeway: Option<DurationText>,
}

/// A signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// HMAC with SHA-384.
    #[serde(rename = "HS384")]
    Hs384,
    /// HMAC with SHA-512.
    #[serde(rename = "HS512")]
    Hs512,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA (PKCS #1 v1.5) with SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSA (PKCS #1 v1.5) with SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// RSA (PSS) with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSA (PSS) with SHA-384.
    #[serde(rename = "PS384")]
    Ps384,
    /// RSA (PSS) with SHA-512.
    #[serde(rename = "PS512")]
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// ECDSA on P-521 with SHA-512.
    #[serde(rename = "ES512")]
    Es512,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// As manifests and tokens write it (RFC 7518, section 3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The one that has this name, to the letter.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// For HMAC: as many bytes as the hash has, the least that a key should have (RFC 7518, section 3.2). `None`: not HMAC.
    pub fn hmac_bytes(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }
}

/// Keys that an issuer publishes (RFC 7517).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Jwks {
    /// Their address: `https://…`, or `http://…` within the cluster or to `localhost`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// How often they are fetched. From 30s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::JWKS_REFRESH)))]
    pub refresh: Option<DurationText>,
    /// How much longer they are used while the address does not answer. At most 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::JWKS_STALE_FOR)))]
    pub stale_for: Option<DurationText>,
}
