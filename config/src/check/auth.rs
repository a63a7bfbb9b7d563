//! Issuers, identity, and what an endpoint makes of them.

use std::time::Duration;

use super::{Check, syntax};
use crate::checked::{Auth, EndpointAuth, Issuer, Origins};
use crate::defaults;
use crate::expression::Scope;
use crate::problem::Problem;
use crate::raw;

/// RFC 7518, section 3.2: an HS256 key has at least as many bits as the hash.
const HS256_KEY_BYTES: usize = 32;

impl Check<'_> {
    pub(super) fn auth(&mut self, auth: Option<&raw::Auth>) -> Option<Auth> {
        let issuers = auth.and_then(|auth| auth.issuers.as_deref()).unwrap_or_default();
        self.unique("spec.auth.issuers", issuers.iter().map(|issuer| issuer.name.as_str()));
        let checked: Vec<Issuer> =
            issuers.iter().enumerate().filter_map(|(at, issuer)| self.issuer(at, issuer)).collect();
        if let Some(auth) = auth {
            self.origins("spec.auth.allowedOrigins", auth.allowed_origins.as_deref());
            self.token_places("spec.auth.tokenFrom", auth.token_from.as_deref());
        }
        let identity = auth.and_then(|auth| auth.identity.as_ref());
        let text = identity.and_then(|identity| identity.user.as_deref()).unwrap_or(defaults::IDENTITY_USER);
        let user = self.expression("spec.auth.identity.user", text, &Scope::Identity);
        let tenant = identity.and_then(|identity| identity.tenant.as_ref());
        let tenant = self.optional("spec.auth.identity.tenant", tenant, &Scope::Identity);
        Some(Auth { issuers: checked, user: user?, tenant: tenant? })
    }

    fn issuer(&mut self, at: usize, issuer: &raw::Issuer) -> Option<Issuer> {
        let path = format!("spec.auth.issuers[{at}]");
        let leeway = self.duration(
            &format!("{path}.leeway"),
            issuer.leeway.as_ref(),
            defaults::LEEWAY,
            [Duration::ZERO, Duration::from_secs(600)],
        );
        let key = self.secret(&format!("{path}.secretRef"), &issuer.secret_ref)?;
        if key.0.len() < HS256_KEY_BYTES {
            let length = key.0.len();
            let message =
                format!("the key has {length} bytes: HS256 needs {HS256_KEY_BYTES} to be hard to guess");
            let hint = "openssl rand -base64 32 makes one";
            self.problems.add(Problem::warning(format!("{path}.secretRef"), message).hint(hint));
        }
        Some(Issuer {
            name: issuer.name.clone(),
            key,
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone().unwrap_or_default(),
            leeway,
        })
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
        let issuers = all.and_then(|all| all.issuers.as_deref()).unwrap_or_default();
        if !anonymous && issuers.is_empty() {
            let (path, message) = match own.and_then(|own| own.anonymous) {
                Some(_) => (
                    format!("{path}.auth.anonymous"),
                    "nobody can connect here: there is no issuer of tokens",
                ),
                None => (
                    "spec.auth".into(),
                    "nobody can connect: there is no issuer of tokens, and anonymous is Deny",
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

fn origins(listed: Option<&[String]>) -> Origins {
    match listed.unwrap_or_default() {
        [] => Origins::SameHost,
        listed if listed.iter().any(|origin| origin == "*") => Origins::Any,
        listed => Origins::Listed(listed.to_vec()),
    }
}
