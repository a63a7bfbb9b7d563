//! Public keys of issuers, as a Secret holds them (PEM): an RSA key, a point of P-256, P-384 or P-521, an Ed25519 key.
//!
//! Only as much of DER is read as leads to the key. The numbers of an RSA key are checked here; whether a point lies on its curve is
//! found out by the library that uses it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::raw::Algorithm;

/// RFC 8725, section 3.5, and RFC 7518, section 3.3: smaller ones can be taken apart.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Keys of one text.
const KEYS: usize = 8;

/// A key that verifies and cannot sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, 2048 to 8192 bits; both numbers big-endian without leading zeros.
    Rsa {
        /// n.
        modulus: Vec<u8>,
        /// e.
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed: 65 bytes.
    P256(Vec<u8>),
    /// A point of P-384, uncompressed: 97 bytes.
    P384(Vec<u8>),
    /// A point of P-521, uncompressed: 133 bytes.
    P521(Vec<u8>),
    /// Ed25519 (RFC 8032): 32 bytes.
    Ed25519(Vec<u8>),
}

/// Why a text holds no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No PEM block.
    #[error("is no public key in PEM: text that begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A block that is not what its label says.
    #[error("has a PEM block that does not hold what it says")]
    Broken,
    /// A key that could sign.
    #[error("is a private key, which the gateway must not have")]
    Private,
    /// More than [`KEYS`].
    #[error("has more than {KEYS} keys")]
    TooMany,
    /// A kind of key, or a curve, that no algorithm of this version uses.
    #[error("is a kind of key that is not in this version")]
    Kind,
    /// Outside of [`RSA_BITS`].
    #[error("is an RSA key of {0} bits: 2048 to 8192 are accepted")]
    RsaBits(usize),
    /// An exponent that makes signatures worthless, or that is none.
    #[error("is an RSA key with a bad exponent")]
    RsaExponent,
    /// Coordinates of another length.
    #[error("has coordinates of the wrong length")]
    Length,
}

impl PublicKey {
    /// An RSA key of big-endian numbers.
    ///
    /// # Errors
    /// [`BadKey::RsaBits`], [`BadKey::RsaExponent`].
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, BadKey> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = modulus.len() * 8 - unused;
        if !RSA_BITS.contains(&bits) {
            return Err(BadKey::RsaBits(bits));
        }
        let number = exponent.iter().fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
        if exponent.len() > 4 || number < 3 || number.is_multiple_of(2) {
            return Err(BadKey::RsaExponent);
        }
        Ok(Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// A point by its uncompressed bytes, of the curve that has points of this length.
    ///
    /// # Errors
    /// [`BadKey::Length`].
    pub fn point(bytes: &[u8]) -> Result<Self, BadKey> {
        match (bytes.first(), bytes.len()) {
            (Some(4), 65) => Ok(Self::P256(bytes.to_vec())),
            (Some(4), 97) => Ok(Self::P384(bytes.to_vec())),
            (Some(4), 133) => Ok(Self::P521(bytes.to_vec())),
            _ => Err(BadKey::Length),
        }
    }

    /// An Ed25519 key.
    ///
    /// # Errors
    /// [`BadKey::Length`].
    pub fn ed25519(bytes: &[u8]) -> Result<Self, BadKey> {
        if bytes.len() == 32 { Ok(Self::Ed25519(bytes.to_vec())) } else { Err(BadKey::Length) }
    }

    /// Whether signatures of `algorithm` are made with keys of this kind.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::P521(_) => algorithm == Es512,
            Self::Ed25519(_) => algorithm == EdDsa,
        }
    }

    /// As users know it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "an RSA key",
            Self::P256(_) => "a P-256 key",
            Self::P384(_) => "a P-384 key",
            Self::P521(_) => "a P-521 key",
            Self::Ed25519(_) => "an Ed25519 key",
        }
    }

    /// All keys of `text`: blocks of `PUBLIC KEY` (RFC 5280), `RSA PUBLIC KEY` (RFC 8017) and `CERTIFICATE`, whose dates and signers
    /// are not looked at: it stands in the Secret because it is trusted.
    ///
    /// # Errors
    /// The first block that is none of these.
    pub fn from_pem(text: &[u8]) -> Result<Vec<Self>, BadKey> {
        let text = std::str::from_utf8(text).map_err(|_| BadKey::NotPem)?;
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, block)) = rest.split_once("-----BEGIN ") {
            let (label, block) = block.split_once("-----").ok_or(BadKey::Broken)?;
            let (body, after) = block.split_once(&format!("-----END {label}-----")).ok_or(BadKey::Broken)?;
            rest = after;
            let read = match label {
                "PUBLIC KEY" => subject_key,
                "RSA PUBLIC KEY" => pkcs1,
                "CERTIFICATE" => certificate,
                _ if label.ends_with("PRIVATE KEY") => return Err(BadKey::Private),
                _ => return Err(BadKey::Kind),
            };
            let joined: String = body.split_ascii_whitespace().collect();
            let der = STANDARD.decode(joined).map_err(|_| BadKey::Broken)?;
            if keys.len() == KEYS {
                return Err(BadKey::TooMany);
            }
            keys.push(read(&der)?);
        }
        if keys.is_empty() { Err(BadKey::NotPem) } else { Ok(keys) }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
/// `[0]`, the version of a certificate.
const VERSION: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What is left of a DER text (X.690).
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next value and its tag.
    fn next(&mut self) -> Result<(u8, &'d [u8]), BadKey> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>().ok_or(BadKey::Broken)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(BadKey::Broken)?;
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            _ => return Err(BadKey::Broken),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(BadKey::Broken)?;
        self.0 = rest;
        Ok((tag, value))
    }

    /// The next value, which must have this tag.
    fn expect(&mut self, tag: u8) -> Result<&'d [u8], BadKey> {
        match self.next()? {
            (found, value) if found == tag => Ok(value),
            _ => Err(BadKey::Broken),
        }
    }
}

/// `SubjectPublicKeyInfo`.
fn subject_key(der: &[u8]) -> Result<PublicKey, BadKey> {
    let mut info = Der(Der(der).expect(SEQUENCE)?);
    let mut algorithm = Der(info.expect(SEQUENCE)?);
    let name = algorithm.expect(OID)?;
    let (unused, key) = info.expect(BIT_STRING)?.split_first().ok_or(BadKey::Broken)?;
    if *unused != 0 {
        return Err(BadKey::Broken);
    }
    match name {
        RSA => pkcs1(key),
        ED25519 => PublicKey::ed25519(key),
        EC => {
            let curve = algorithm.expect(OID)?;
            let key = PublicKey::point(key);
            match (curve, &key) {
                (P256, Ok(PublicKey::P256(_)))
                | (P384, Ok(PublicKey::P384(_)))
                | (P521, Ok(PublicKey::P521(_))) => key,
                (P256 | P384 | P521, _) => Err(BadKey::Length),
                _ => Err(BadKey::Kind),
            }
        }
        _ => Err(BadKey::Kind),
    }
}

/// `RSAPublicKey`.
fn pkcs1(der: &[u8]) -> Result<PublicKey, BadKey> {
    let mut key = Der(Der(der).expect(SEQUENCE)?);
    let modulus = key.expect(INTEGER)?;
    PublicKey::rsa(modulus, key.expect(INTEGER)?)
}

/// The key of a `Certificate`.
fn certificate(der: &[u8]) -> Result<PublicKey, BadKey> {
    let mut body = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
    let version = body.0.first() == Some(&VERSION);
    // Version, serial number, signature, issuer, validity, subject.
    for _ in 0..5 + usize::from(version) {
        body.next()?;
    }
    subject_key(body.0)
}

#[cfg(test)]
#[path = "public_key_tests.rs"]
mod tests;
