//! Keys of programs, and the webhook that judges the application's own credentials.

use std::time::Duration;

use serde_json::Value;

use super::Check;
use crate::checked::{ApiKey, AuthWebhook, KeyScope};
use crate::defaults;
use crate::problem::Problem;
use crate::raw;
use crate::suggest;
use crate::url::HttpUrl;

/// Below it a key can be guessed in a few years of trying.
const KEY_BYTES: usize = 16;
/// What a header of a request carries anyway.
const MOST_KEY_BYTES: usize = 4096;
/// As much as the claims of a token may be.
const CLAIMS_BYTES: usize = 6 * 1024;

impl Check<'_> {
    pub(super) fn api_keys(&mut self, keys: &[raw::ApiKey]) -> Vec<ApiKey> {
        self.unique("spec.auth.apiKeys", keys.iter().map(|key| key.name.as_str()));
        let mut checked: Vec<ApiKey> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let path = format!("spec.auth.apiKeys[{at}]");
            let Some(key) = self.api_key(&path, key) else { continue };
            if let Some(same) = checked.iter().find(|other| other.key == key.key) {
                let message = format!(
                    "is the same key as that of `{}`: which of them is meant would be a guess",
                    same.name
                );
                self.error(format!("{path}.secretRef"), message);
            }
            checked.push(key);
        }
        checked
    }

    fn api_key(&mut self, path: &str, key: &raw::ApiKey) -> Option<ApiKey> {
        let mut scopes = Vec::new();
        for (at, text) in key.scopes.iter().enumerate() {
            match KeyScope::parse(text) {
                Some(scope) => scopes.push(scope),
                None => {
                    let hint = match text.strip_prefix("publish") {
                        Some(_) => "publish:PATTERN, for example publish:* or publish:room:{room}".to_owned(),
                        None => suggest::one_of(text, &[&KeyScope::WORDS[..], &["publish:*"]].concat()),
                    };
                    let problem =
                        Problem::error(format!("{path}.scopes[{at}]"), format!("`{text}` is not a scope"));
                    self.problems.add(problem.hint(hint));
                }
            }
        }
        let claims = self.key_claims(path, key, &scopes);
        let secret = self.stored(&format!("{path}.secretRef"), &key.secret_ref)?;
        let place = format!("{path}.secretRef.key");
        if !secret.0.iter().all(u8::is_ascii_graphic) || secret.0.len() > MOST_KEY_BYTES {
            let message =
                format!("is no key that a request can carry: visible ASCII, at most {MOST_KEY_BYTES} bytes");
            let hint = "openssl rand -hex 32 makes one; `echo -n` writes no line break behind it";
            self.problems.also(Problem::error(place, message).hint(hint));
            return None;
        }
        if secret.0.len() < KEY_BYTES {
            let message = format!("has {} bytes: {KEY_BYTES} are needed to be hard to guess", secret.0.len());
            self.problems.add(Problem::warning(place, message).hint("openssl rand -hex 32 makes one"));
        }
        Some(ApiKey { name: key.name.clone(), key: secret, scopes, claims: claims? })
    }

    fn key_claims(&mut self, path: &str, key: &raw::ApiKey, scopes: &[KeyScope]) -> Option<String> {
        let place = format!("{path}.claims");
        let mut claims = key.claims.clone().unwrap_or_default();
        if key.claims.is_some() && !scopes.contains(&KeyScope::Connect) {
            let message = "say nothing: the key is not for connections";
            self.problems
                .add(Problem::warning(&place, message).hint("add the scope connect, or take claims out"));
        }
        claims.entry("sub").or_insert_with(|| Value::String(key.name.clone()));
        match serde_json::to_string(&claims) {
            Ok(text) if text.len() <= CLAIMS_BYTES => Some(text),
            _ => {
                self.error(place, format!("have more than {CLAIMS_BYTES} bytes"));
                None
            }
        }
    }

    pub(super) fn auth_webhook(&mut self, webhook: &raw::AuthWebhook) -> Option<AuthWebhook> {
        let path = "spec.auth.webhook";
        let timeout = self.duration(
            &format!("{path}.timeout"),
            webhook.timeout.as_ref(),
            defaults::WEBHOOK_TIMEOUT,
            [Duration::from_millis(100), Duration::from_secs(10)],
        );
        let cache_for = self.duration(
            &format!("{path}.cacheFor"),
            webhook.cache_for.as_ref(),
            defaults::WEBHOOK_CACHE_FOR,
            [Duration::from_secs(1), Duration::from_secs(3600)],
        );
        let url = self.http_url(&format!("{path}.url"), &webhook.url);
        let secret = match &webhook.secret_ref {
            None => None,
            Some(reference) => Some(self.secret(&format!("{path}.secretRef"), reference)?),
        };
        let max_in_flight = webhook.max_in_flight.unwrap_or(defaults::WEBHOOK_MAX_IN_FLIGHT);
        Some(AuthWebhook { url: url?, timeout, cache_for, max_in_flight, secret })
    }

    /// An address that the gateway asks.
    pub(super) fn http_url(&mut self, path: &str, text: &str) -> Option<HttpUrl> {
        match HttpUrl::parse(text) {
            Ok(url) => Some(url),
            Err(bad) => {
                self.problems.add(Problem::error(path, bad.message).hint(bad.hint));
                None
            }
        }
    }
}
