//! `rtgw token`: a signed token for trying things out.

use std::path::PathBuf;
use std::time::Duration;

use rtgw_config::checked::{Algorithm, Checked, Issuer, IssuerKeys, Secret};
use rtgw_config::raw::DurationText;
use serde_json::{Map, Value};

use super::{Failure, accepted, print_line};
use crate::auth::{self, TOKEN_BYTES};
use crate::clock;

/// Prints a token that the gateway of a manifest accepts, signed with the key of its first issuer that has one (HS256, HS384, HS512).
///
/// Example: rtgw token -f gateway.yaml --sub ann --claim role=admin --claim 'projects=["p1","p2"]'
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// A manifest (RealtimeGateway and the Secrets it names, any number of YAML documents); `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Which gateway, where the files hold several.
    #[arg(long, value_name = "GATEWAY")]
    name: Option<String>,
    /// The claim `sub`: the user, unless the manifest's `auth.identity` says otherwise.
    #[arg(long, value_name = "USER")]
    sub: String,
    /// A further claim, such as role=admin or 'workspaces=["a","b"]'; a value that is JSON is taken as JSON, any other as text. A
    /// number that should be a text needs quotes of its own: 'workspace_id="42"'.
    #[arg(long = "claim", value_name = "K=V", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// How long the token is good.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

/// Why no token can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignError {
    /// Nothing to sign with.
    #[error(
        "spec.auth.issuers: none has a key to sign with: HS256, HS384 or HS512, and a secretRef; other algorithms sign with a key that \
         only the issuer has"
    )]
    NoKey,
    /// A claim with an option of its own, or given twice.
    #[error("--claim {0}: {1}")]
    Claim(String, &'static str),
    /// The gateway would refuse it for its size.
    #[error(
        "the token would have {0} bytes, and the gateway accepts at most {TOKEN_BYTES}: give fewer claims"
    )]
    TooLong(usize),
}

impl Token {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let config = accepted(&self.files, self.name.as_deref())?;
        let token = sign(&config, &self.sub, &self.claims, self.ttl)
            .map_err(|error| Failure::Refused(error.to_string()))?;
        print_line(&token)
    }
}

/// A token for `sub` that the gateway of `config` accepts for `ttl`; `iss` and `aud` are what its first issuer asks for, unless
/// `claims` give them.
///
/// # Errors
/// [`SignError`].
pub(super) fn sign(
    config: &Checked,
    sub: &str,
    claims: &[(String, Value)],
    ttl: Duration,
) -> Result<String, SignError> {
    let (issuer, algorithm, key) = config.auth.issuers.iter().find_map(signer).ok_or(SignError::NoKey)?;
    let now = u64::try_from(clock::unix_seconds()).unwrap_or_default();
    let mut all = Map::new();
    all.insert("sub".into(), sub.into());
    for (name, value) in claims {
        let why = match name.as_str() {
            "sub" => Some("say --sub instead"),
            "exp" => Some("say --ttl instead"),
            _ if all.contains_key(name) => Some("it is given twice"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(SignError::Claim(name.clone(), why));
        }
        all.insert(name.clone(), value.clone());
    }
    let mut unless_given = |name: &str, value: Value| {
        all.entry(name).or_insert(value);
    };
    if let Some(name) = &issuer.issuer {
        unless_given("iss", name.as_str().into());
    }
    match issuer.audience.as_slice() {
        [] => {}
        [one] => unless_given("aud", one.as_str().into()),
        several => unless_given("aud", several.into()),
    }
    unless_given("iat", now.into());
    // A fraction of a second counts as a whole one: no token is born expired.
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    all.insert("exp".into(), now.saturating_add(seconds).into());
    let token = auth::sign(algorithm, &key.0, &Value::Object(all).to_string()).ok_or(SignError::NoKey)?;
    if token.len() > TOKEN_BYTES { Err(SignError::TooLong(token.len())) } else { Ok(token) }
}

/// An issuer that signs with a secret: its first algorithm, and its key of now.
fn signer(issuer: &Issuer) -> Option<(&Issuer, Algorithm, &Secret)> {
    match &issuer.keys {
        IssuerKeys::Hmac(keys) => Some((issuer, *issuer.algorithms.first()?, keys.first()?)),
        IssuerKeys::Public(_) | IssuerKeys::Jwks(_) => None,
    }
}

/// `K=V`.
fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE")?;
    let value = match serde_json::from_str(value) {
        Ok(value) => value,
        // A slip in a list would become a text that no rule expects.
        Err(error) if value.starts_with(['[', '{', '"']) => {
            return Err(format!("{name} is not JSON: {error}"));
        }
        Err(_) => value.into(),
    };
    Ok((name.to_owned(), value))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = DurationText(text.to_owned()).parse().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a duration such as 30s, 15m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::IpAddr;
    use std::sync::Arc;

    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::auth::{Admitter, ConnectRequest};
    use crate::fixture::checked;
    use crate::rules::CompiledRules;

    fn config(issuers: &str) -> Checked {
        checked(&format!(
            "endpoints: [{{name: ws, path: /ws}}]\nauth:\n  anonymous: Allow\n  issuers: {issuers}\nchannels: [{{pattern: a}}]\n"
        ))
    }

    fn verified(config: &Checked, token: &str) -> Value {
        let request = ConnectRequest {
            endpoint: 0,
            headers: http::HeaderMap::new(),
            query: format!("token={token}"),
            ip: IpAddr::from([127, 0, 0, 1]),
        };
        let admitter = Admitter::new(config, Arc::new(CompiledRules::new(config)));
        let principal = admitter.authenticate(&request).now_or_never().unwrap().unwrap();
        serde_json::from_str(&principal.claims).unwrap()
    }

    #[test]
    fn the_gateway_accepts_what_is_signed_for_it() {
        let nested = r#"app={"roles":["a","b"],"teams":[{"id":"t"}],"on":true,"none":null}"#;
        let claims = ["role=admin", "n=5", "list=[\"a\",\"b\"]", "text=\"5\"", "odd=a=b", "empty=", nested];
        let claims: Vec<_> = claims.iter().map(|text| claim(text).unwrap()).collect();
        let plain = config("[{name: a, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]");
        let token = sign(&plain, "ann", &claims, Duration::from_secs(60)).unwrap();
        let mut said = verified(&plain, &token);
        let (exp, iat) = (said["exp"].take().as_u64().unwrap(), said["iat"].take().as_u64().unwrap());
        assert_eq!(exp, iat + 60);
        assert_eq!(
            said,
            json!({"sub": "ann", "role": "admin", "n": 5, "list": ["a", "b"], "text": "5", "odd": "a=b", "empty": "",
                   "app": {"roles": ["a", "b"], "teams": [{"id": "t"}], "on": true, "none": null}, "exp": null, "iat": null})
        );

        for (audience, aud) in [("[one]", json!("one")), ("[one, two]", json!(["one", "two"]))] {
            let strict = config(&format!(
                "[{{name: a, algorithms: [HS256], secretRef: {{name: auth, key: jwt}}, issuer: id, audience: {audience}}}]"
            ));
            let token = sign(&strict, "ann", &[], Duration::from_millis(1500)).unwrap();
            let said = verified(&strict, &token);
            assert_eq!((&said["iss"], &said["aud"]), (&json!("id"), &aud));
        }
    }

    #[test]
    fn what_cannot_be_signed_says_why() {
        let none = config("[]");
        assert_eq!(sign(&none, "a", &[], Duration::from_secs(1)), Err(SignError::NoKey));
        let plain = config("[{name: a, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]");
        for name in ["sub", "exp"] {
            let claims = [(name.to_owned(), json!(1))];
            assert!(matches!(sign(&plain, "a", &claims, Duration::from_secs(1)), Err(SignError::Claim(..))));
        }
        let twice = [("k".to_owned(), json!(1)), ("k".to_owned(), json!(2))];
        assert!(matches!(sign(&plain, "a", &twice, Duration::from_secs(1)), Err(SignError::Claim(..))));
        let long = [("k".to_owned(), json!("x".repeat(TOKEN_BYTES)))];
        assert!(matches!(sign(&plain, "a", &long, Duration::from_secs(1)), Err(SignError::TooLong(_))));
        assert!(claim("novalue").is_err() && claim("=v").is_err());
        assert!(claim("list=[\"a\",b]").is_err() && claim("map={a}").is_err() && claim("text=\"a").is_err());
        assert!(duration("0s").is_err() && duration("1d").is_err() && duration("1h").is_ok());
    }
}
