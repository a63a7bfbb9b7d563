//! Why a token is refused, in words for its developer.

/// Longest token in bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// Deepest nesting of a token's header and claims.
pub(super) const NESTING: usize = 32;

/// Why a token is refused: for its developer, so each says what to do. None repeats anything of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// No byte.
    #[error("the token is empty: send one, or no credential at all")]
    Empty,
    /// Above [`TOKEN_BYTES`].
    #[error("the token is longer than {TOKEN_BYTES} bytes: put less into its claims")]
    TooLong,
    /// Not three parts of base64url, or a header that is none.
    #[error(
        "the token is not a signed JWT: three parts in base64url without padding, joined by dots, the first a JSON header"
    )]
    Malformed,
    /// The header names another algorithm.
    #[error("the token's algorithm is none that the gateway's issuers are configured with")]
    Algorithm,
    /// The header has `crit` (RFC 7515, section 4.1.11).
    #[error("the token's header demands extensions (`crit`) that this gateway does not have")]
    Critical,
    /// The gateway verifies no tokens.
    #[error(
        "this gateway verifies no tokens: add an issuer to auth.issuers, or connect without a credential"
    )]
    NoIssuer,
    /// No issuer's key made the signature.
    #[error("the token's signature is wrong: sign it with the key that the gateway's issuer is given")]
    Signature,
    /// None of the published keys has the token's `kid`.
    #[error("the token's key (`kid`) is none that the issuer publishes")]
    UnknownKey,
    /// The claims are no JSON object, nest too deep, or say one thing twice.
    #[error("the token's claims must be one JSON object, each claim once, nested at most {NESTING} deep")]
    Claims,
    /// `exp` is absent or no number of seconds.
    #[error("the token never expires: give it `exp`, in Unix seconds")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the token has expired: get a new one")]
    Expired,
    /// More than the operator's tokens may live.
    #[error("the operator's token lives longer than {} seconds", rtgw_config::pod::TOKEN_SECONDS)]
    TooLongLived,
    /// `nbf` has not come, or is no number of seconds.
    #[error(
        "the token is not valid yet (`nbf`): check the clocks of issuer and gateway, or the issuer's leeway"
    )]
    NotYet,
    /// `iss` is not the issuer's.
    #[error("the token has another `iss` than the gateway's issuer is configured with, or none")]
    Issuer,
    /// `aud` has none of the issuer's.
    #[error("the token's `aud` has none of the audiences that the gateway's issuer is configured with")]
    Audience,
}

impl TokenError {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "token_expired",
            _ => "token_invalid",
        }
    }

    /// Whether the credential is none that any issuer would have made, so that somebody else may know it.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::Malformed | Self::Algorithm | Self::NoIssuer | Self::Issuer)
    }
}
