//! Verifies signed tokens (RFC 7519) by the issuers of the configuration.
//!
//! The issuer is the first whose algorithms have the token's, whose `iss` the token carries, and whose key made the signature; it
//! alone judges the claims. Which algorithms there are is the configuration's choice, never the token's (RFC 8725, section 3.1), and
//! keys that a token brings or names are ignored. What a token says is believed only after its signature held.

use std::fmt;
use std::sync::Arc;

use rtgw_config::checked::{self, Algorithm, IssuerKeys, Jwks};
use rtgw_config::public_key::PublicKey;
use rtgw_model::Timestamp;
use tokio_util::sync::CancellationToken;

use super::jws::{Claims, Jws};
use super::key::{HmacKey, made};
use super::key_set::{KeySet, Lookup};
use super::token_error::TokenError;
use super::verdict::{AuthError, Verified};
use crate::outbound::Outbound;

/// All issuers of a configuration.
pub(super) struct Issuers(Box<[Issuer]>);

struct Issuer {
    name: Box<str>,
    algorithms: Box<[Algorithm]>,
    keys: Keys,
    iss: Option<Box<str>>,
    audience: Box<[String]>,
    /// Seconds.
    leeway: f64,
}

enum Keys {
    Hmac(Box<[HmacKey]>),
    Public(Box<[PublicKey]>),
    Published(Arc<KeySet>),
}

/// Shows names only.
impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|issuer| &issuer.name)).finish()
    }
}

impl Issuers {
    /// Prepares `issuers`; published keys are fetched over `outbound` once somebody runs [`Self::keep_keys`]. Those that `before` has
    /// by the same settings are there at once.
    pub(super) fn new(issuers: &[checked::Issuer], before: Option<&Self>, outbound: &Outbound) -> Self {
        let known = |issuer: &checked::Issuer, jwks: &Jwks| {
            before?.0.iter().find_map(|known| match &known.keys {
                Keys::Published(set) if set.is_of(&issuer.name, jwks, &issuer.algorithms) => {
                    Some(Arc::clone(set))
                }
                _ => None,
            })
        };
        let issuer = |issuer: &checked::Issuer| {
            let keys = match &issuer.keys {
                IssuerKeys::Hmac(secrets) => {
                    let keys = secrets.iter().flat_map(|secret| HmacKey::all(secret, &issuer.algorithms));
                    Keys::Hmac(keys.collect())
                }
                IssuerKeys::Public(keys) => Keys::Public(keys.as_slice().into()),
                IssuerKeys::Jwks(jwks) => Keys::Published(known(issuer, jwks).unwrap_or_else(|| {
                    Arc::new(KeySet::new(&issuer.name, jwks, &issuer.algorithms, outbound.clone()))
                })),
            };
            Issuer::new(issuer, keys)
        };
        Self(issuers.iter().map(issuer).collect())
    }

    /// Keeps published keys fresh until `stop`.
    pub(super) async fn keep_keys(&self, stop: &CancellationToken) {
        let sets = self.0.iter().filter_map(|issuer| match &issuer.keys {
            Keys::Published(set) => Some(set.keep(stop)),
            _ => None,
        });
        futures_util::future::join_all(sets).await;
    }

    /// What `token` says at the time `at`. Waits only where a published key is not known yet.
    ///
    /// # Errors
    /// What is wrong with it, by the issuer whose key made the signature where there is one; [`AuthError::Unavailable`] where the
    /// keys that it needs are not there.
    pub(super) async fn verify(&self, token: &str, at: Timestamp) -> Result<Verified, AuthError> {
        let jws = Jws::read(token)?;
        let fits = |issuer: &&Issuer| jws.algorithm.is_some_and(|one| issuer.algorithms.contains(&one));
        let Some(algorithm) = jws.algorithm.filter(|_| self.0.iter().any(|issuer| fits(&issuer))) else {
            return Err(if self.0.is_empty() { TokenError::NoIssuer } else { TokenError::Algorithm }.into());
        };
        let (json, signature) = (jws.claims()?, jws.signature()?);
        let claims = Claims::read(&json)?;
        let mut worst: AuthError = TokenError::Issuer.into();
        for issuer in self.0.iter().filter(fits) {
            if !issuer.iss.as_deref().is_none_or(|iss| claims.is_from(iss)) {
                continue;
            }
            match issuer.made(&jws, algorithm, &signature).await {
                Ok(()) => {
                    let expires = issuer.judge(&claims, at)?;
                    return Ok(Verified { claims: json, expires: Some(expires), scopes: None });
                }
                // Whoever could not look may be the one that signed.
                Err(error) if worst != AuthError::Unavailable => worst = error,
                Err(_) => {}
            }
        }
        Err(worst)
    }
}

impl Issuer {
    fn new(issuer: &checked::Issuer, keys: Keys) -> Self {
        Self {
            name: issuer.name.as_str().into(),
            algorithms: issuer.algorithms.as_slice().into(),
            keys,
            iss: issuer.issuer.as_deref().map(Into::into),
            audience: issuer.audience.as_slice().into(),
            leeway: issuer.leeway.as_secs_f64(),
        }
    }

    /// Whether one of its keys signed.
    async fn made(&self, jws: &Jws<'_>, algorithm: Algorithm, signature: &[u8]) -> Result<(), AuthError> {
        let made = match &self.keys {
            Keys::Hmac(keys) => keys.iter().any(|key| key.made(algorithm, jws.signed, signature)),
            Keys::Public(keys) => keys.iter().any(|key| made(key, algorithm, jws.signed, signature)),
            Keys::Published(set) => match set.find(jws.kid.as_deref(), algorithm).await {
                Lookup::Keys(keys) => keys.iter().any(|key| made(key, algorithm, jws.signed, signature)),
                Lookup::Unknown => return Err(TokenError::UnknownKey.into()),
                Lookup::Unavailable => return Err(AuthError::Unavailable),
            },
        };
        if made { Ok(()) } else { Err(TokenError::Signature.into()) }
    }

    /// Judges claims that are known to be the issuer's; gives when they end.
    fn judge(&self, claims: &Claims<'_>, at: Timestamp) -> Result<Timestamp, TokenError> {
        #[expect(clippy::cast_precision_loss, reason = "exact for some hundred thousand years")]
        let now = at.0 as f64 / 1000.0;
        let expires = claims.expires()?;
        if expires + self.leeway <= now {
            return Err(TokenError::Expired);
        }
        if claims.begins()?.is_some_and(|begins| begins > now + self.leeway) {
            return Err(TokenError::NotYet);
        }
        if !self.audience.is_empty() && !claims.is_for(&self.audience) {
            return Err(TokenError::Audience);
        }
        // Beyond the calendar is as far as it goes.
        #[expect(clippy::cast_possible_truncation, reason = "`as` stops at the largest number")]
        Ok(Timestamp((expires * 1000.0) as i64))
    }
}
