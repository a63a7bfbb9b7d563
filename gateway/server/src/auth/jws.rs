//! A signed token taken apart (RFC 7515, section 3.1; RFC 7519): header, claims and signature, read and not yet believed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rtgw_config::checked::Algorithm;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::token_error::{NESTING, TOKEN_BYTES, TokenError};

/// A token whose header makes sense.
#[derive(Debug)]
pub(super) struct Jws<'t> {
    /// Header and claims as they were signed.
    pub(super) signed: &'t str,
    /// `None`: one that this version does not know, `none` included.
    pub(super) algorithm: Option<Algorithm>,
    /// Which of the issuer's keys it says that it is signed with; only ever compared.
    pub(super) kid: Option<String>,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Takes `token` apart. Keys and addresses that its header brings (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    ///
    /// # Errors
    /// [`TokenError::Empty`], `TooLong`, `Malformed`, `Critical`.
    pub(super) fn read(token: &'t str) -> Result<Self, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = decoded(header).ok_or(TokenError::Malformed)?;
        let (mut algorithm, mut kid, mut critical) = (None, None, false);
        members(&header, |name, value| match name {
            "alg" => algorithm = Some(text(value)),
            "kid" => kid = Some(text(value)),
            "crit" => critical = true,
            _ => {}
        })
        .ok_or(TokenError::Malformed)?;
        // Absent, or no text, is malformed; a text that is no name of ours is another algorithm.
        let algorithm = algorithm.flatten().ok_or(TokenError::Malformed)?;
        let kid = match kid {
            None => None,
            Some(kid) => Some(kid.ok_or(TokenError::Malformed)?.into_owned()),
        };
        if critical {
            return Err(TokenError::Critical);
        }
        Ok(Self { signed, algorithm: Algorithm::named(&algorithm), kid, claims, signature })
    }

    /// The claims as they were written.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] where they are not base64url, [`TokenError::Claims`] where they are not UTF-8.
    pub(super) fn claims(&self) -> Result<String, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| TokenError::Malformed)?;
        String::from_utf8(bytes).map_err(|_| TokenError::Claims)
    }

    /// # Errors
    /// [`TokenError::Malformed`] where it is not base64url.
    pub(super) fn signature(&self) -> Result<Vec<u8>, TokenError> {
        URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| TokenError::Malformed)
    }
}

/// Whether `text` has the looks of a signed token, so that no other kind of credential is taken for a bad one.
pub(super) fn looks_signed(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2 && text.starts_with("ey")
}

fn decoded(part: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The text that `value` is.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

#[derive(serde::Deserialize)]
struct Text<'j>(#[serde(borrow)] Cow<'j, str>);

/// What is asked of claims.
#[derive(Debug, Default)]
pub(super) struct Claims<'j> {
    exp: Option<&'j RawValue>,
    nbf: Option<&'j RawValue>,
    iss: Option<&'j RawValue>,
    aud: Option<&'j RawValue>,
}

impl<'j> Claims<'j> {
    /// Reads `json`.
    ///
    /// # Errors
    /// [`TokenError::Claims`]: no object, nested too deep, or something said twice.
    pub(super) fn read(json: &'j str) -> Result<Self, TokenError> {
        let mut claims = Self::default();
        members(json, |name, value| match name {
            "exp" => claims.exp = Some(value),
            "nbf" => claims.nbf = Some(value),
            "iss" => claims.iss = Some(value),
            "aud" => claims.aud = Some(value),
            _ => {}
        })
        .ok_or(TokenError::Claims)?;
        Ok(claims)
    }

    /// Whether `iss` is this text.
    pub(super) fn is_from(&self, issuer: &str) -> bool {
        self.iss.and_then(text).is_some_and(|iss| iss == issuer)
    }

    /// Whether `aud` is one of these, or a list that has one.
    pub(super) fn is_for(&self, audience: &[String]) -> bool {
        let Some(aud) = self.aud else { return false };
        if let Some(one) = text(aud) {
            return audience.iter().any(|known| *known == one);
        }
        let list: Vec<&RawValue> = serde_json::from_str(aud.get()).unwrap_or_default();
        list.iter().filter_map(|one| text(one)).any(|one| audience.iter().any(|known| *known == one))
    }

    /// When it ends, in Unix seconds.
    ///
    /// # Errors
    /// [`TokenError::NoExpiry`]: absent, or no number from 0 on.
    pub(super) fn expires(&self) -> Result<f64, TokenError> {
        self.exp.and_then(seconds).ok_or(TokenError::NoExpiry)
    }

    /// When it begins, if it says so.
    ///
    /// # Errors
    /// [`TokenError::NotYet`]: no number from 0 on.
    pub(super) fn begins(&self) -> Result<Option<f64>, TokenError> {
        self.nbf.map(|nbf| seconds(nbf).ok_or(TokenError::NotYet)).transpose()
    }
}

/// `NumericDate` (RFC 7519, section 2). What JSON does not call a number does not begin with a digit.
fn seconds(value: &RawValue) -> Option<f64> {
    let number = value.get();
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| number.parse().ok())
        .flatten()
        .filter(|n: &f64| n.is_finite())
}

/// Gives every member of the JSON object `json`. `None`: it is none, names one twice (RFC 7515, section 4; RFC 7519, section 4), or
/// nests deeper than [`NESTING`].
pub(super) fn members<'j>(json: &'j str, each: impl FnMut(&str, &'j RawValue)) -> Option<()> {
    if nesting(json.as_bytes()) > NESTING {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    Members(each).deserialize(&mut reader).ok().filter(|unique| *unique)?;
    reader.end().ok()
}

struct Members<F>(F);

impl<'j, F: FnMut(&str, &'j RawValue)> DeserializeSeed<'j> for Members<F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'j, F: FnMut(&str, &'j RawValue)> Visitor<'j> for Members<F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(mut self, mut members: A) -> Result<bool, A::Error> {
        let mut seen: HashSet<Cow<'j, str>> = HashSet::with_capacity(8);
        while let Some(Text(name)) = members.next_key()? {
            let value: &'j RawValue = members.next_value()?;
            (self.0)(&name, value);
            if !seen.insert(name) {
                return Ok(false);
            }
        }
        Ok(true)
    }
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
