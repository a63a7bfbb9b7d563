//! The checked part of `auth` that says whose credentials count: issuers, keys of programs, the application's own judgement.

use std::fmt;
use std::time::Duration;

use crate::checked::Secret;
use crate::pattern::{Pattern, PatternError};
use crate::public_key::PublicKey;
pub use crate::raw::Algorithm;
use crate::url::HttpUrl;

/// A verifier of tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Unique name.
    pub name: String,
    /// Accepted signatures, each once; all HMAC, or none.
    pub algorithms: Vec<Algorithm>,
    /// What verifies them.
    pub keys: IssuerKeys,
    /// The required `iss`.
    pub issuer: Option<String>,
    /// Accepted `aud`; empty = not checked.
    pub audience: Vec<String>,
    /// Tolerated difference of clocks.
    pub leeway: Duration,
}

/// What verifies an issuer's tokens.
#[derive(Clone, Debug)]
pub enum IssuerKeys {
    /// The key that signs, and the one that did so before.
    Hmac(Vec<Secret>),
    /// Each fits one of the algorithms, and each algorithm is fit by one.
    Public(Vec<PublicKey>),
    /// Fetched.
    Jwks(Jwks),
}

/// A set of keys that the issuer publishes (RFC 7517, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// Where.
    pub url: HttpUrl,
    /// Fetched again after.
    pub refresh: Duration,
    /// Used so much longer while the address does not answer.
    pub stale_for: Duration,
}

/// A program's key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Unique name.
    pub name: String,
    /// The key itself, visible ASCII.
    pub key: Secret,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// A JSON object, `sub` included: the claims of a connection that is made with it.
    pub claims: String,
}

/// Something that a program may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyScope {
    /// Connect as a client.
    Connect,
    /// Publish to channels that fit.
    Publish(Pattern),
    /// Subscribe connections.
    Subscribe,
    /// Ask who is there.
    Presence,
    /// End connections.
    Disconnect,
    /// Revoke credentials.
    Revoke,
    /// Look at everything.
    Read,
    /// Administer: what the internal listener asks `admin` for.
    Admin,
}

impl KeyScope {
    /// The words that stand alone.
    pub const WORDS: [&str; 7] =
        ["connect", "subscribe", "presence", "disconnect", "revoke", "read", "admin"];

    /// Reads `connect`, `subscribe`, …, or `publish:PATTERN`: a pattern as `channels` has them, where `*` may stand for a segment, or
    /// at the end for all that are left. `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(pattern) = text.strip_prefix("publish:") {
            return starred(pattern).ok().map(Self::Publish);
        }
        Some(match text {
            "connect" => Self::Connect,
            "subscribe" => Self::Subscribe,
            "presence" => Self::Presence,
            "disconnect" => Self::Disconnect,
            "revoke" => Self::Revoke,
            "read" => Self::Read,
            "admin" => Self::Admin,
            _ => return None,
        })
    }
}

/// Reads a pattern in which `*` may stand for a segment, or at the end for all that are left: `jobs:*` is `jobs:{rest*}`.
///
/// # Errors
/// As of [`Pattern::parse`].
pub fn starred(pattern: &str) -> Result<Pattern, PatternError> {
    let last = pattern.split(':').count().saturating_sub(1);
    let segment = |(at, segment): (usize, &str)| match segment {
        "*" if at == last => format!("{{any{at}*}}"),
        "*" => format!("{{any{at}}}"),
        other => other.to_owned(),
    };
    Pattern::parse(&pattern.split(':').enumerate().map(segment).collect::<Vec<_>>().join(":"))
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(pattern) => write!(f, "publish:{}", pattern.source()),
            Self::Connect => f.write_str("connect"),
            Self::Subscribe => f.write_str("subscribe"),
            Self::Presence => f.write_str("presence"),
            Self::Disconnect => f.write_str("disconnect"),
            Self::Revoke => f.write_str("revoke"),
            Self::Read => f.write_str("read"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// The application itself, asked about credentials that no issuer signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthWebhook {
    /// Where.
    pub url: HttpUrl,
    /// For one answer.
    pub timeout: Duration,
    /// How long a good answer counts.
    pub cache_for: Duration,
    /// Questions under way at once.
    pub max_in_flight: u32,
    /// Signs the questions.
    pub secret: Option<Secret>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scopes_are_words_and_patterns() {
        for word in KeyScope::WORDS {
            assert_eq!(KeyScope::parse(word).unwrap().to_string(), word);
        }
        let fits = |scope: &str, channel: &str| match KeyScope::parse(scope).unwrap() {
            KeyScope::Publish(pattern) => pattern.matches(channel).is_some(),
            _ => false,
        };
        for (scope, channel) in [
            ("publish:*", "a"),
            ("publish:*", "a:b:c"),
            ("publish:jobs", "jobs"),
            ("publish:jobs:*", "jobs:1"),
            ("publish:jobs:*", "jobs:1:2"),
            ("publish:*:open", "a:open"),
            ("publish:room:{room}", "room:1"),
        ] {
            assert!(fits(scope, channel), "{scope} {channel}");
        }
        for (scope, channel) in [
            ("publish:jobs", "jobs:1"),
            ("publish:jobs:*", "jobs"),
            ("publish:*:open", "a:b:open"),
            ("publish:room:{room}", "room:1:2"),
        ] {
            assert!(!fits(scope, channel), "{scope} {channel}");
        }
        for bad in ["", "publish", "publish:", "publish:a b", "Connect", "connect ", "write", "publish:a::b"]
        {
            assert_eq!(KeyScope::parse(bad), None, "{bad}");
        }
    }
}
