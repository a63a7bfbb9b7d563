//! Whether a key made a signature (RFC 7518, section 3; RFC 8037). The algorithm is always one that the issuer is configured with and
//! that the key is made for.

use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use ring::hmac;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use rtgw_config::checked::{Algorithm, Secret};
use rtgw_config::public_key::PublicKey;

/// The hash of an HMAC algorithm. `None`: it is none.
pub(crate) fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// A secret, prepared for one algorithm.
pub(super) struct HmacKey {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl HmacKey {
    /// `secret` for each of `algorithms` that is HMAC.
    pub(super) fn all<'a>(
        secret: &'a Secret,
        algorithms: &'a [Algorithm],
    ) -> impl Iterator<Item = Self> + use<'a> {
        algorithms.iter().filter_map(|algorithm| {
            hash(*algorithm).map(|hash| Self { algorithm: *algorithm, key: hmac::Key::new(hash, &secret.0) })
        })
    }

    /// Whether it made `tag` over `text`; the time that takes does not depend on where they differ.
    pub(super) fn made(&self, algorithm: Algorithm, text: &str, tag: &[u8]) -> bool {
        self.algorithm == algorithm && hmac::verify(&self.key, text.as_bytes(), tag).is_ok()
    }
}

/// Whether the pair of `key` made `signature` over `text`.
pub(super) fn made(key: &PublicKey, algorithm: Algorithm, text: &str, signature: &[u8]) -> bool {
    let text = text.as_bytes();
    match key {
        PublicKey::Rsa { modulus, exponent } => rsa(algorithm).is_some_and(|parameters| {
            RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, text, signature).is_ok()
        }),
        PublicKey::P256(point) | PublicKey::P384(point) | PublicKey::Ed25519(point)
            if key.fits(algorithm) =>
        {
            let of: &'static dyn VerificationAlgorithm = match key {
                PublicKey::P256(_) => &signature::ECDSA_P256_SHA256_FIXED,
                PublicKey::P384(_) => &signature::ECDSA_P384_SHA384_FIXED,
                _ => &signature::ED25519,
            };
            UnparsedPublicKey::new(of, point).verify(text, signature).is_ok()
        }
        // The one curve that ring does not have.
        PublicKey::P521(point) if key.fits(algorithm) => {
            match (VerifyingKey::from_sec1_bytes(point), Signature::from_slice(signature)) {
                (Ok(key), Ok(signature)) => key.verify(text, &signature).is_ok(),
                _ => false,
            }
        }
        _ => false,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
