//! Published keys (RFC 7517): which of them can verify what an issuer signs.

use rtgw_config::checked::Algorithm;
use rtgw_config::public_key::PublicKey;
use serde::Deserialize;
use serde_json::value::RawValue;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Largest answer, bytes.
pub(super) const SET_BYTES: usize = 256 * 1024;
/// Most keys of a set.
const KEYS: usize = 100;
/// Keys that a token without `kid` is tried with: each costs a verification, and anybody can send such tokens.
const WITHOUT_ID: usize = 4;

/// Why an answer is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSet {
    /// Not JSON of this shape.
    #[error("the answer is no JSON Web Key Set")]
    Shape,
    /// More than [`KEYS`].
    #[error("the answer has more than {KEYS} keys")]
    TooMany,
    /// None is for the issuer's algorithms.
    #[error("none of the keys is for the issuer's algorithms")]
    NoneFits,
}

/// The keys of a set that are of use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublishedKeys(Vec<Published>);

#[derive(Debug, PartialEq, Eq)]
struct Published {
    id: Option<String>,
    /// The only one that it is for; `None`: every one that its kind fits.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

#[derive(Deserialize)]
struct Set<'j> {
    #[serde(borrow)]
    keys: Vec<&'j RawValue>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl PublishedKeys {
    /// Reads a set. Keys that are no keys, for encryption, symmetric, weak, or not for `algorithms` are left out.
    ///
    /// # Errors
    /// [`BadSet`].
    pub(super) fn read(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, BadSet> {
        let set: Set<'_> = serde_json::from_slice(json).map_err(|_| BadSet::Shape)?;
        if set.keys.len() > KEYS {
            return Err(BadSet::TooMany);
        }
        let keys: Vec<Published> = set.keys.iter().filter_map(|raw| published(raw, algorithms)).collect();
        if keys.is_empty() { Err(BadSet::NoneFits) } else { Ok(Self(keys)) }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keys that may have signed a token with this `kid` and algorithm: those called so, or else those that have no name; for a token
    /// without `kid` the first few. Empty: none is known.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<PublicKey> {
        let fits = |published: &&Published| {
            published.key.fits(algorithm) && published.algorithm.is_none_or(|only| only == algorithm)
        };
        let of = |id: Option<&str>| -> Vec<PublicKey> {
            let named = self.0.iter().filter(fits).filter(|published| published.id.as_deref() == id);
            named.take(WITHOUT_ID).map(|published| published.key.clone()).collect()
        };
        let Some(kid) = kid else {
            return self
                .0
                .iter()
                .filter(fits)
                .take(WITHOUT_ID)
                .map(|published| published.key.clone())
                .collect();
        };
        let named = of(Some(kid));
        if named.is_empty() { of(None) } else { named }
    }
}

fn published(raw: &RawValue, algorithms: &[Algorithm]) -> Option<Published> {
    let jwk: Jwk = serde_json::from_str(raw.get()).ok()?;
    let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !for_signatures || !verifies {
        return None;
    }
    let algorithm = match &jwk.alg {
        None => None,
        Some(name) => Some(Algorithm::named(name)?),
    };
    let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::rsa(&number(&jwk.n)?, &number(&jwk.e)?),
        ("EC", Some(curve @ ("P-256" | "P-384" | "P-521"))) => {
            let length = match curve {
                "P-256" => 32,
                "P-384" => 48,
                _ => 66,
            };
            let (x, y) = (number(&jwk.x)?, number(&jwk.y)?);
            // RFC 7518, section 6.2.1.2: always as long as the curve's field.
            if x.len() != length || y.len() != length {
                return None;
            }
            PublicKey::point(&[&[4], x.as_slice(), y.as_slice()].concat())
        }
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&number(&jwk.x)?),
        _ => return None,
    };
    let key = key.ok()?;
    let fits = |one: &Algorithm| key.fits(*one) && algorithm.is_none_or(|only| only == *one);
    algorithms.iter().any(fits).then_some(Published { id: jwk.kid, algorithm, key })
}
