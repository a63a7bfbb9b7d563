//! The operator's own key: what its tokens are signed with when it asks pods. It stands in a Secret of its own namespace, made once.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rtgw_config::pod::{Claims, TOKEN_SECONDS};
use rtgw_config::raw::OperatorKey;

use crate::hash;
use crate::names::{MANAGED_BY, MANAGER};

/// The Secret's name.
pub const SECRET: &str = "rtgw-operator-key";
/// Key in the Secret of the key that signs, PKCS#8. Any other is one that signed before, or will next: only its public half is used.
const CURRENT: &str = "current";
/// As many as a configuration may name.
const MOST_KEYS: usize = 4;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server's.
    #[error("the Secret `{SECRET}`: {0}")]
    Api(#[from] kube::Error),
    /// There is one, and it holds something else.
    #[error(
        "the Secret `{SECRET}` has no Ed25519 key (PKCS#8) under `{0}`: delete it, and a new one is made"
    )]
    NoKey(String),
    /// The system gives no randomness.
    #[error("no randomness for a key")]
    NoRandomness,
}

/// Signs tokens.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    name: String,
    public: Vec<OperatorKey>,
}

impl Signer {
    /// The key in the operator's namespace; made where there is none.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub async fn open(client: &Client, namespace: &str) -> Result<Self, Error> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        if let Some(secret) = api.get_opt(SECRET).await? {
            return Self::of(&secret);
        }
        let made = Self::made(namespace)?;
        match api.create(&PostParams::default(), &made).await {
            Ok(_) => Self::of(&made),
            // Another operator was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Self::of(&api.get(SECRET).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// A Secret with a new key.
    fn made(namespace: &str) -> Result<Secret, Error> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::NoRandomness)?;
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.into()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(CURRENT.to_owned(), ByteString(document.as_ref().to_vec()))])),
            ..Secret::default()
        })
    }

    /// The keys in `secret`.
    fn of(secret: &Secret) -> Result<Self, Error> {
        let data = secret.data.iter().flatten();
        let mut pair = None;
        let mut public = Vec::new();
        for (place, document) in data {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document.0)
                .map_err(|_| Error::NoKey(place.clone()))?;
            let named = named(&key);
            if place == CURRENT {
                public.insert(0, named);
                pair = Some(key);
            } else {
                public.push(named);
            }
        }
        public.truncate(MOST_KEYS);
        let pair = pair.ok_or_else(|| Error::NoKey(CURRENT.into()))?;
        Ok(Self { name: named(&pair).kid, pair, public })
    }

    /// A new key that is kept nowhere.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn fresh() -> Result<Self, Error> {
        Self::of(&Self::made("")?)
    }

    /// What pods have to know.
    pub fn public(&self) -> &[OperatorKey] {
        &self.public
    }

    /// A token for the pods of the object with this UID, good for a minute.
    pub fn token(&self, audience: &str, now: SystemTime) -> String {
        let iat = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = serde_json::json!({ "alg": "EdDSA", "kid": self.name, "typ": "JWT" });
        let claims = Claims { aud: audience.to_owned(), iat, exp: iat + TOKEN_SECONDS };
        // Never fails: keys are texts.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn named(pair: &Ed25519KeyPair) -> OperatorKey {
    let public = pair.public_key().as_ref();
    OperatorKey { kid: format!("k-{}", hash::short(public)), x: URL_SAFE_NO_PAD.encode(public) }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_is_signed_with_the_key_that_is_published() {
        let signer = Signer::fresh().unwrap();
        let token = signer.token("6f2c", UNIX_EPOCH + std::time::Duration::from_secs(1000));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public = URL_SAFE_NO_PAD.decode(&signer.public()[0].x).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let header: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!(
            (&header["alg"], header["kid"].as_str()),
            (&"EdDSA".into(), Some(&*signer.public()[0].kid))
        );
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims, Claims { aud: "6f2c".into(), iat: 1000, exp: 1060 });
    }

    #[test]
    fn a_key_that_signed_before_is_published_behind_the_one_that_signs() {
        let mut secret = Signer::made("a").unwrap();
        let older = Signer::made("a").unwrap().data.unwrap().remove(CURRENT).unwrap();
        secret.data.as_mut().unwrap().insert("before".into(), older.clone());
        let signer = Signer::of(&secret).unwrap();
        assert_eq!(signer.public().len(), 2);
        assert_eq!(signer.public()[0].kid, signer.name);
        let junk = Secret {
            data: Some(BTreeMap::from([(CURRENT.into(), ByteString(vec![1]))])),
            ..Secret::default()
        };
        assert!(matches!(Signer::of(&junk), Err(Error::NoKey(_))));
    }
}
