//! Issuers, identity, and what an endpoint makes of them.

use std::time::Duration;

use super::{Check, syntax};
use crate::checked::{Auth, EndpointAuth, Expiry, Origins};
use crate::defaults;
use crate::expression::Scope;
use crate::problem::Problem;
use crate::raw;

/// Longest warning and longest grace.
const LONGEST_EXPIRY: Duration = Duration::from_secs(24 * 3600);

impl Check<'_> {
    pub(super) fn auth(&mut self, auth: Option<&raw::Auth>) -> Option<Auth> {
        let issuers = self.issuers(auth.and_then(|auth| auth.issuers.as_deref()).unwrap_or_default());
        let api_keys = self.api_keys(auth.and_then(|auth| auth.api_keys.as_deref()).unwrap_or_default());
        let webhook = auth.and_then(|auth| auth.webhook.as_ref());
        let webhook = webhook.and_then(|webhook| self.auth_webhook(webhook));
        if let Some(auth) = auth {
            self.origins("spec.auth.allowedOrigins", auth.allowed_origins.as_deref());
            self.token_places("spec.auth.tokenFrom", auth.token_from.as_deref());
        }
        let identity = auth.and_then(|auth| auth.identity.as_ref());
        let text = identity.and_then(|identity| identity.user.as_deref()).unwrap_or(defaults::IDENTITY_USER);
        let user = self.expression("spec.auth.identity.user", text, &Scope::Identity);
        let tenant = identity.and_then(|identity| identity.tenant.as_ref());
        let tenant = self.optional("spec.auth.identity.tenant", tenant, &Scope::Identity);
        let expiry = self.expiry(auth.and_then(|auth| auth.expiry.as_ref()));
        let revocation = auth.and_then(|auth| auth.revocation.as_ref());
        let when_unknown = revocation.and_then(|revocation| revocation.when_unknown).unwrap_or_default();
        Some(Auth { issuers, api_keys, webhook, user: user?, tenant: tenant?, expiry, when_unknown })
    }

    fn expiry(&mut self, expiry: Option<&raw::Expiry>) -> Expiry {
        let bounds = [Duration::ZERO, LONGEST_EXPIRY];
        let warn = expiry.and_then(|expiry| expiry.warn.as_ref());
        let grace = expiry.and_then(|expiry| expiry.grace.as_ref());
        Expiry {
            warn: self.duration("spec.auth.expiry.warn", warn, defaults::EXPIRY_WARN, bounds),
            grace: self.duration("spec.auth.expiry.grace", grace, defaults::EXPIRY_GRACE, bounds),
        }
    }

    /// `spec.auth` with an endpoint's overrides applied.
    pub(super) fn endpoint_auth(
        &mut self,
        path: &str,
        all: Option<&raw::Auth>,
        own: Option<&raw::EndpointAuth>,
    ) -> EndpointAuth {
        let anonymous =
            own.and_then(|own| own.anonymous).or(all.and_then(|all| all.anonymous)).unwrap_or_default();
        let origins = match own.and_then(|own| own.allowed_origins.as_deref()) {
            Some(origins) => self.origins(&format!("{path}.auth.allowedOrigins"), Some(origins)),
            None => origins(all.and_then(|all| all.allowed_origins.as_deref())),
        };
        let anonymous = anonymous == raw::Anonymous::Allow;
        if !anonymous && !all.is_some_and(knows_somebody) {
            let (path, message) = match own.and_then(|own| own.anonymous) {
                Some(_) => (
                    format!("{path}.auth.anonymous"),
                    "nobody can connect here: there is no issuer of tokens, no API key for connections and no webhook",
                ),
                None => (
                    "spec.auth".into(),
                    "nobody can connect: there is no issuer of tokens, no API key for connections and no webhook, and anonymous is Deny",
                ),
            };
            let hint = "add auth.issuers, or set auth.anonymous: Allow to let everyone in";
            self.problems.add(Problem::error(path, message).hint(hint));
        }
        let (place, written) = match own.and_then(|own| own.token_from.as_deref()) {
            Some(own) => (format!("{path}.auth.tokenFrom"), Some(own)),
            None => ("spec.auth.tokenFrom".to_owned(), all.and_then(|all| all.token_from.as_deref())),
        };
        let token_from = self.token_places(&place, written);
        let auth = EndpointAuth { anonymous, token_from, allowed_origins: origins };
        self.agree_on_places(&place, &auth);
        auth
    }

    fn origins(&mut self, path: &str, listed: Option<&[String]>) -> Origins {
        for (at, origin) in listed.unwrap_or_default().iter().enumerate() {
            if origin == "*" {
                continue;
            }
            if let Err(message) = syntax::origin(origin) {
                let hint = "for example https://app.example.com, as the browser's console shows it";
                self.problems.add(Problem::error(format!("{path}[{at}]"), message).hint(hint));
            }
        }
        origins(listed)
    }
}

/// Whether any credential can be good.
fn knows_somebody(auth: &raw::Auth) -> bool {
    let connects = |key: &raw::ApiKey| key.scopes.iter().any(|scope| scope == "connect");
    let issuers = auth.issuers.as_deref().unwrap_or_default();
    !issuers.is_empty() || auth.webhook.is_some() || auth.api_keys.iter().flatten().any(connects)
}

fn origins(listed: Option<&[String]>) -> Origins {
    match listed.unwrap_or_default() {
        [] => Origins::SameHost,
        listed if listed.iter().any(|origin| origin == "*") => Origins::Any,
        listed => Origins::Listed(listed.to_vec()),
    }
}
