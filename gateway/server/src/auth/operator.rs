//! The operator's token: short-lived, for one object, signed with one of the keys that the configuration lists.

use rtgw_config::checked::{Algorithm, Operator};
use rtgw_config::pod::{Claims, TOKEN_SECONDS};
use rtgw_model::Timestamp;

use super::jws::Jws;
use super::key::made;
use super::token_error::TokenError;

/// Longest token of the operator in bytes.
const BYTES: usize = 2048;
/// Tolerated difference between the clocks of two nodes, in seconds.
const LEEWAY: u64 = 10;

/// Judges the operator's `token` at the time `at`. Every token costs the check of at most one signature, and nothing that it says is
/// believed before that held.
///
/// # Errors
/// Why it does not count.
pub fn judge_operator(operator: &Operator, token: &str, at: Timestamp) -> Result<(), TokenError> {
    if token.len() > BYTES {
        return Err(TokenError::TooLong);
    }
    let jws = Jws::read(token)?;
    if jws.algorithm != Some(Algorithm::EdDsa) {
        return Err(TokenError::Algorithm);
    }
    let kid = jws.kid.as_deref().ok_or(TokenError::UnknownKey)?;
    let key = operator.keys.iter().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)?;
    if !made(&key.key, Algorithm::EdDsa, jws.signed, &jws.signature()?) {
        return Err(TokenError::Signature);
    }
    let claims: Claims = serde_json::from_str(&jws.claims()?).map_err(|_| TokenError::Claims)?;
    judge(&claims, operator, u64::try_from(at.0 / 1000).unwrap_or(0))
}

/// Judges what was signed; `now` in Unix seconds.
fn judge(claims: &Claims, operator: &Operator, now: u64) -> Result<(), TokenError> {
    if claims.aud != operator.audience {
        return Err(TokenError::Audience);
    }
    let life = claims.exp.checked_sub(claims.iat).ok_or(TokenError::Expired)?;
    if life > TOKEN_SECONDS {
        return Err(TokenError::TooLongLived);
    }
    if claims.exp.saturating_add(LEEWAY) <= now {
        return Err(TokenError::Expired);
    }
    if claims.iat > now.saturating_add(LEEWAY) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}
