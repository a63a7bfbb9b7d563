//! Makes signed tokens, for trying things out and for measuring.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use rtgw_config::checked::Algorithm;

use super::key::hash;

/// A token with `claims`, a JSON object, signed with `key` (RFC 7515, section 3.1). `None`: the algorithm is not HMAC.
pub fn sign(algorithm: Algorithm, key: &[u8], claims: &str) -> Option<String> {
    let hash = hash(algorithm)?;
    let header = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, algorithm.name());
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = hmac::sign(&hmac::Key::new(hash, key), token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}
