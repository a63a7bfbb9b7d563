//! Keys of programs: found by comparing digests, all of them, in a time that says nothing of where a guess differs.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rtgw_config::checked::{self, KeyScope};
use subtle::{ConditionallySelectable, ConstantTimeEq};

/// One key. `Debug` shows its name alone.
pub struct ApiKey {
    name: Box<str>,
    digest: [u8; 32],
    scopes: Arc<[KeyScope]>,
    claims: Box<str>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.name).finish()
    }
}

impl ApiKey {
    /// Its name in the manifest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub fn scopes(&self) -> &Arc<[KeyScope]> {
        &self.scopes
    }

    /// Whether it has this very scope.
    pub fn may(&self, scope: &KeyScope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether one of its scopes lets it publish to `channel`.
    pub fn may_publish(&self, channel: &str) -> bool {
        self.scopes.iter().any(|scope| match scope {
            KeyScope::Publish(pattern) => pattern.matches(channel).is_some(),
            _ => false,
        })
    }

    /// The claims of a connection that is made with it, a JSON object.
    pub fn claims(&self) -> &str {
        &self.claims
    }
}

/// All keys of a configuration.
#[derive(Debug, Default)]
pub struct ApiKeys(Box<[ApiKey]>);

impl ApiKeys {
    /// Prepares `keys`.
    pub fn new(keys: &[checked::ApiKey]) -> Self {
        let key = |key: &checked::ApiKey| ApiKey {
            name: key.name.as_str().into(),
            digest: digest_of(&key.key.0),
            scopes: key.scopes.as_slice().into(),
            claims: key.claims.as_str().into(),
        };
        Self(keys.iter().map(key).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that `presented` is.
    pub fn key(&self, presented: &str) -> Option<&ApiKey> {
        if self.0.is_empty() {
            return None;
        }
        let presented = digest_of(presented.as_bytes());
        let mut found = u32::MAX;
        for (at, key) in (0u32..).zip(&self.0) {
            found.conditional_assign(&at, key.digest.ct_eq(&presented));
        }
        self.0.get(found as usize)
    }
}

/// Equal in length whatever is presented, and of no use to who sees it compared.
fn digest_of(key: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixture::{KEY, OTHER_KEY, checked};

    #[test]
    fn a_key_is_found_by_the_whole_of_it() {
        let config = checked(
            "endpoints: [{name: ws, path: /ws}]\nauth:\n  anonymous: Allow\n  apiKeys:\n  - {name: backend, secretRef: {name: auth, key: jwt}, scopes: ['publish:jobs:*', read]}\n  - {name: page, secretRef: {name: auth, key: other}, scopes: [connect], claims: {role: bot}}\nchannels: [{pattern: a}]\n",
        );
        let keys = ApiKeys::new(&config.auth.api_keys);
        let found = |text: &str| keys.key(text).map(ApiKey::name);
        assert_eq!((found(KEY), found(OTHER_KEY)), (Some("backend"), Some("page")));
        for no in
            ["", "x", &KEY[1..], &KEY[..31], &format!("{KEY}x"), &KEY.to_uppercase(), &format!(" {KEY}")]
        {
            assert_eq!(found(no), None, "{no}");
        }
        let backend = keys.key(KEY).unwrap();
        assert!(
            backend.may(&KeyScope::Read)
                && !backend.may(&KeyScope::Admin)
                && !backend.may(&KeyScope::Connect)
        );
        assert!(backend.may_publish("jobs:1") && !backend.may_publish("job") && !backend.may_publish("jobs"));
        assert_eq!(keys.key(OTHER_KEY).unwrap().claims(), r#"{"role":"bot","sub":"page"}"#);
        assert_eq!(backend.claims(), r#"{"sub":"backend"}"#);
        assert!(ApiKeys::default().key(KEY).is_none());
        let shown = format!("{keys:?}");
        assert!(shown.contains("backend") && !shown.contains(KEY) && !shown.contains("digest"));
    }
}
