//! Issuers of tokens and their keys.

use std::time::Duration;

use super::Check;
use crate::checked::{Issuer, IssuerKeys, Jwks, Secret};
use crate::defaults;
use crate::problem::Problem;
use crate::public_key::{BadKey, PublicKey};
use crate::raw::{self, Algorithm, SecretRef};

const HOUR: u64 = 3600;

impl Check<'_> {
    pub(super) fn issuers(&mut self, issuers: &[raw::Issuer]) -> Vec<Issuer> {
        self.unique("spec.auth.issuers", issuers.iter().map(|issuer| issuer.name.as_str()));
        issuers.iter().enumerate().filter_map(|(at, issuer)| self.issuer(at, issuer)).collect()
    }

    fn issuer(&mut self, at: usize, issuer: &raw::Issuer) -> Option<Issuer> {
        let path = format!("spec.auth.issuers[{at}]");
        let leeway = self.duration(
            &format!("{path}.leeway"),
            issuer.leeway.as_ref(),
            defaults::LEEWAY,
            [Duration::ZERO, Duration::from_secs(600)],
        );
        let usual = if issuer.jwks.is_some() { Algorithm::Rs256 } else { Algorithm::Hs256 };
        let mut algorithms = Vec::new();
        for algorithm in issuer.algorithms.as_deref().unwrap_or(&[usual]) {
            if !algorithms.contains(algorithm) {
                algorithms.push(*algorithm);
            }
        }
        Some(Issuer {
            name: issuer.name.clone(),
            keys: self.issuer_keys(&path, issuer, &algorithms)?,
            algorithms,
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone().unwrap_or_default(),
            leeway,
        })
    }

    fn issuer_keys(
        &mut self,
        path: &str,
        issuer: &raw::Issuer,
        algorithms: &[Algorithm],
    ) -> Option<IssuerKeys> {
        let hmac: Vec<Algorithm> =
            algorithms.iter().copied().filter(|algorithm| algorithm.hmac_bytes().is_some()).collect();
        if !hmac.is_empty() && hmac.len() < algorithms.len() {
            let problem = Problem::error(
                format!("{path}.algorithms"),
                "mixes HMAC, whose key is a secret, with algorithms whose keys are public",
            );
            self.problems.add(problem.hint("write an issuer for each"));
        }
        // What a key has to be cannot be told then.
        let unclear = self.problems.touches(&format!("{path}.algorithms"));
        match (&issuer.secret_ref, &issuer.jwks) {
            (Some(reference), None) if unclear => {
                self.stored(&format!("{path}.secretRef"), reference)?;
                None
            }
            (Some(reference), None) => {
                self.stored_keys(path, issuer, reference, algorithms, !hmac.is_empty())
            }
            (None, Some(jwks)) => {
                let jwks = self.jwks(&format!("{path}.jwks"), jwks);
                if let Some(reference) = &issuer.previous_secret_ref {
                    let place = format!("{path}.previousSecretRef");
                    self.stored(&place, reference);
                    self.error(place, "stands beside jwks, which has the keys of before by itself");
                }
                if let Some(algorithm) = hmac.first().filter(|_| !unclear) {
                    let message =
                        format!("has {}, whose key is a secret and is never published", algorithm.name());
                    let problem = Problem::error(format!("{path}.algorithms"), message);
                    self.problems
                        .add(problem.hint("name what the issuer signs with, such as RS256 or ES256"));
                }
                jwks.map(IssuerKeys::Jwks)
            }
            (Some(_), Some(_)) => {
                self.error(path, "has both secretRef and jwks: only one of them can be meant");
                None
            }
            (None, None) => {
                let problem = Problem::error(path, "has no keys");
                let hint =
                    "secretRef: {name: …, key: …} for keys in a Secret, or jwks: {url: …} for published ones";
                self.problems.add(problem.hint(hint));
                None
            }
        }
    }

    /// Keys in Secrets: those of now and those of before.
    fn stored_keys(
        &mut self,
        path: &str,
        issuer: &raw::Issuer,
        reference: &SecretRef,
        algorithms: &[Algorithm],
        hmac: bool,
    ) -> Option<IssuerKeys> {
        let previous = issuer.previous_secret_ref.as_ref();
        let references =
            [Some((reference, "secretRef")), previous.map(|previous| (previous, "previousSecretRef"))];
        let (mut secrets, mut public, mut whole) = (Vec::new(), Vec::new(), true);
        for (reference, field) in references.into_iter().flatten() {
            let place = format!("{path}.{field}");
            let found = if hmac { self.secret(&place, reference) } else { self.stored(&place, reference) };
            let Some(secret) = found else {
                whole = false;
                continue;
            };
            if hmac {
                whole &= self.hmac_key(&place, &secret, algorithms);
                secrets.push(secret);
            } else {
                match self.public_keys(&place, &secret, algorithms) {
                    Some(keys) => public.extend(keys),
                    None => whole = false,
                }
            }
        }
        if !whole {
            return None;
        }
        if hmac {
            return Some(IssuerKeys::Hmac(secrets));
        }
        for algorithm in algorithms.iter().filter(|algorithm| !public.iter().any(|key| key.fits(**algorithm)))
        {
            let problem = Problem::error(
                format!("{path}.algorithms"),
                format!("has {}, and none of the keys is for that", algorithm.name()),
            );
            self.problems.add(problem.hint("take it out, or add the key's PEM block to the Secret"));
        }
        Some(IssuerKeys::Public(public))
    }

    /// A public key as an HMAC secret would be a secret that everybody knows (RFC 8725, section 2.1).
    fn hmac_key(&mut self, place: &str, secret: &Secret, algorithms: &[Algorithm]) -> bool {
        let starts = |text: &[u8]| secret.0.trim_ascii_start().starts_with(text);
        if secret.0.windows(11).any(|part| part == b"-----BEGIN ") || starts(b"ssh-") {
            let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
            let message =
                format!("is a key of a pair, and {} needs a secret that nobody else knows", names.join(", "));
            let hint =
                "say which algorithm the pair is for, such as algorithms: [RS256], or put a random key there";
            self.problems.add(Problem::error(place, message).hint(hint));
            return false;
        }
        let weak =
            algorithms.iter().filter(|one| one.hmac_bytes().is_some_and(|least| secret.0.len() < least));
        if let Some(algorithm) = weak.max_by_key(|algorithm| algorithm.hmac_bytes()) {
            let least = algorithm.hmac_bytes().unwrap_or_default();
            let message = format!(
                "the key has {} bytes: {} needs {least} to be hard to guess",
                secret.0.len(),
                algorithm.name()
            );
            let hint = format!("openssl rand -base64 {least} makes one");
            self.problems.add(Problem::warning(place, message).hint(hint));
        }
        true
    }

    fn public_keys(
        &mut self,
        place: &str,
        secret: &Secret,
        algorithms: &[Algorithm],
    ) -> Option<Vec<PublicKey>> {
        let keys = match PublicKey::from_pem(&secret.0) {
            Ok(keys) => keys,
            Err(error) => {
                let problem = Problem::error(place, error.to_string());
                let problem = match error {
                    BadKey::Private => problem.hint("openssl pkey -in private.pem -pubout prints the public half"),
                    BadKey::RsaBits(_) => problem.hint("smaller keys can be taken apart; make a new one"),
                    BadKey::NotPem => problem.hint(
                        "openssl pkey -in private.pem -pubout prints one; with HMAC the algorithms are HS256, HS384, HS512",
                    ),
                    BadKey::Kind => problem.hint("in this version: RSA, P-256, P-384, P-521, Ed25519"),
                    _ => problem,
                };
                self.problems.add(problem);
                return None;
            }
        };
        for key in &keys {
            if !algorithms.iter().any(|algorithm| key.fits(*algorithm)) {
                let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
                let message = format!("has {}, which is not for {}", key.kind(), names.join(", "));
                let fit: Vec<&str> =
                    Algorithm::ALL.into_iter().filter(|one| key.fits(*one)).map(Algorithm::name).collect();
                let hint = format!("such a key is for {}", fit.join(", "));
                self.problems.add(Problem::error(place, message).hint(hint));
                return None;
            }
        }
        Some(keys)
    }

    fn jwks(&mut self, path: &str, jwks: &raw::Jwks) -> Option<Jwks> {
        let refresh = self.duration(
            &format!("{path}.refresh"),
            jwks.refresh.as_ref(),
            defaults::JWKS_REFRESH,
            [Duration::from_secs(30), Duration::from_secs(24 * HOUR)],
        );
        let stale_for = self.duration(
            &format!("{path}.staleFor"),
            jwks.stale_for.as_ref(),
            defaults::JWKS_STALE_FOR,
            [Duration::ZERO, Duration::from_secs(168 * HOUR)],
        );
        Some(Jwks { url: self.http_url(&format!("{path}.url"), &jwks.url)?, refresh, stale_for })
    }
}
