//! Signs what is sent, so that its receiver knows the sender and that it is no repetition of an old request.

use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-rtgw-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-rtgw-signature-256");

/// Adds both headers for `body`, sent at `at` (Unix seconds).
pub(super) fn sign(headers: &mut HeaderMap, body: &[u8], secret: &[u8], at: i64) {
    let at = at.to_string();
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(at.as_bytes());
    context.update(b".");
    context.update(body);
    let mut hex = String::with_capacity(64);
    for byte in context.sign().as_ref() {
        hex.push_str(&format!("{byte:02x}"));
    }
    for (name, value) in [(TIMESTAMP, at), (SIGNATURE, hex)] {
        // Digits and hexadecimal digits are always a header's value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`
    #[test]
    fn openssl_agrees() {
        let mut headers = HeaderMap::new();
        sign(&mut headers, br#"{"a":1}"#, b"secret", 1_700_000_000);
        assert_eq!(headers["x-rtgw-timestamp"], "1700000000");
        assert_eq!(
            headers["x-rtgw-signature-256"],
            "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
