//! Verifies signed tokens (RFC 7519): HS256 and nothing else, so far.
//!
//! The algorithm is the configuration's choice, never the token's (RFC 8725, section 3.1); keys that a token names or brings are
//! ignored. What a token says is looked at only after its signature held.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rtgw_config::checked::Issuer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest token in bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// Deepest nesting of a token's header and claims.
const NESTING: usize = 32;

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
    #[error("the token is not signed with HS256, the one algorithm that this gateway accepts")]
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
    /// The claims are no JSON object, nest too deep, or say one thing twice.
    #[error("the token's claims must be one JSON object, each claim once, nested at most {NESTING} deep")]
    Claims,
    /// `exp` is absent or no number of seconds.
    #[error("the token never expires: give it `exp`, in Unix seconds")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the token has expired: get a new one")]
    Expired,
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
}

/// All issuers of a configuration.
pub(super) struct Verifier(Vec<Key>);

struct Key {
    name: Box<str>,
    key: DecodingKey,
    validation: Validation,
}

/// Shows names only.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.name)).finish()
    }
}

impl Verifier {
    /// Prepares `issuers`.
    pub(super) fn new(issuers: &[Issuer]) -> Self {
        Self(issuers.iter().map(Key::new).collect())
    }

    /// The claims of `token`, as raw JSON, by the first issuer that accepts it.
    ///
    /// # Errors
    /// What is wrong, by the issuer whose key made the signature where there is one.
    pub(super) fn verify(&self, token: &str) -> Result<String, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        header(token)?;
        let mut worst = TokenError::NoIssuer;
        for key in &self.0 {
            match key.verify(token) {
                Ok(claims) => return Ok(claims),
                Err(error) if matches!(worst, TokenError::NoIssuer | TokenError::Signature) => worst = error,
                Err(_) => {}
            }
        }
        Err(worst)
    }
}

/// Judges the header before any key is used.
fn header(token: &str) -> Result<(), TokenError> {
    if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| unreadable(token))?;
    if header.alg != Algorithm::HS256 {
        return Err(TokenError::Algorithm);
    }
    if header.crit.is_some() { Err(TokenError::Critical) } else { Ok(()) }
}

/// What to say of a header that the library does not read: to it, `none` is no algorithm at all.
fn unreadable(token: &str) -> TokenError {
    #[derive(serde::Deserialize)]
    struct Header<'h> {
        #[serde(borrow)]
        alg: Cow<'h, str>,
    }
    let part = token.split('.').next().unwrap_or_default();
    let Ok(json) = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part) else {
        return TokenError::Malformed;
    };
    match serde_json::from_slice::<Header<'_>>(&json) {
        Ok(header) if header.alg != "HS256" => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

impl Key {
    fn new(issuer: &Issuer) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        let mut required = vec!["exp"];
        validation.validate_nbf = true;
        validation.leeway = issuer.leeway.as_secs();
        if let Some(name) = &issuer.issuer {
            validation.set_issuer(&[name]);
            required.push("iss");
        }
        if issuer.audience.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_audience(&issuer.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Self { name: issuer.name.as_str().into(), key: DecodingKey::from_secret(&issuer.key.0), validation }
    }

    fn verify(&self, token: &str) -> Result<String, TokenError> {
        let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| judge(error.kind()))?.claims;
        let claims: String = Box::<str>::from(claims).into();
        if is_plain_object(&claims) { Ok(claims) } else { Err(TokenError::Claims) }
    }
}

/// The library's error in our words.
fn judge(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => match claim.as_str()
        {
            "exp" => TokenError::NoExpiry,
            "nbf" => TokenError::NotYet,
            "iss" => TokenError::Issuer,
            "aud" => TokenError::Audience,
            _ => TokenError::Claims,
        },
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

/// Whether `claims` (known to be JSON) is an object that names nothing twice (RFC 7519, section 4) and stays within [`NESTING`].
fn is_plain_object(claims: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(claims);
    nesting(claims.as_bytes()) <= NESTING && reader.deserialize_map(Unique).unwrap_or(false)
}

/// How deep brackets go outside of strings.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

struct Unique;

impl<'de> Visitor<'de> for Unique {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        let mut unique = true;
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            unique &= seen.insert(name);
            members.next_value::<IgnoredAny>()?;
        }
        Ok(unique)
    }
}
