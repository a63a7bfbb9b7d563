//! `rtgw token`: a signed token for trying things out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rtgw_config::checked::Checked;
use serde_json::{Map, Value, json};

use super::{Failure, accepted, print_line};

/// Prints a token that the gateway of a manifest accepts, signed with its first HMAC key.
///
/// Example: rtgw token -f examples/quickstart/gateway.yaml --sub ada --claim role=admin --ttl 10m
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// The manifest, with the Secret that holds the key; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Which gateway, where the files hold several.
    #[arg(long, value_name = "GATEWAY")]
    name: Option<String>,
    /// The user: the claim `sub`.
    #[arg(long, value_name = "USER")]
    sub: String,
    /// A claim; V is taken as JSON where it is JSON (`projects=["a","b"]`), else as text. Repeat for more.
    #[arg(long, value_name = "K=V", value_parser = claim)]
    claim: Vec<(String, Value)>,
    /// How long it is valid: 90s, 15m, 1h, 7d.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

impl Token {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let config = accepted(&self.files, self.name.as_deref())?;
        print_line(&sign(&config, &self.sub, &self.claim, self.ttl)?)
    }
}

/// A token for `sub`, valid for `ttl` from now, with the issuer and audience that the manifest asks for.
///
/// # Errors
/// The manifest has no HMAC key.
pub(super) fn sign(config: &Checked, sub: &str, claims: &[(String, Value)], ttl: Duration) -> Result<String> {
    let issuer = config.auth.issuers.first().ok_or_else(|| {
        anyhow!("the manifest has no issuer (spec.auth.issuers), so no token would be accepted")
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let mut all = Map::new();
    all.insert("sub".to_owned(), json!(sub));
    all.insert("iat".to_owned(), json!(now));
    all.insert("exp".to_owned(), json!(now.saturating_add(ttl.as_secs())));
    if let Some(name) = &issuer.issuer {
        all.insert("iss".to_owned(), json!(name));
    }
    if let Some(audience) = issuer.audience.first() {
        all.insert("aud".to_owned(), json!(audience));
    }
    all.extend(claims.iter().cloned());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &all, &EncodingKey::from_secret(&issuer.key.0))?)
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("must be NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number and one of s, m, h, d, such as 15m".to_owned();
    let units = [("s", 1_u64), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let parts = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, seconds) = parts.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn claims_are_json_where_they_are_json() {
        assert_eq!(claim("a=1").unwrap().1, json!(1));
        assert_eq!(claim("a=[\"x\"]").unwrap().1, json!(["x"]));
        assert_eq!(claim("a=x=y").unwrap().1, json!("x=y"));
        assert!(claim("a").is_err() && claim("=x").is_err());
    }

    #[test]
    fn lifetimes_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "5", "h", "1w", "-1h", "99999999999999999999h", "18446744073709551615d", "1é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
