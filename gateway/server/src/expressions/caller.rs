//! What expressions about a connection see: admission, identity, templates, channel rules.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::OnceLock;

use cel::common::types::{CelInt, CelNull};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use rtgw_model::{ConnectionKey, unescape_segment};

use super::scope::Scope;
use super::value::{self, Boxed};

/// The connection as `connection` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// `connection.id`.
    pub key: ConnectionKey,
    /// `connection.ip`.
    pub ip: IpAddr,
    /// `connection.endpoint`: its name.
    pub endpoint: &'a str,
    /// `connection.query`: the raw query string without credentials.
    pub query: &'a str,
}

/// The channel a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `channel`.
    pub channel: &'a str,
    /// Each by its name, and all as `params`: as text was before a template escaped it.
    pub captures: &'a [(&'a str, &'a str)],
    /// The last capture took several segments: it stays as it is.
    pub rest: bool,
}

impl<'a> Target<'a> {
    fn captured(&self, at: usize) -> Cow<'a, str> {
        let (_, segment) = self.captures[at];
        if self.rest && at + 1 == self.captures.len() {
            Cow::Borrowed(segment)
        } else {
            unescape_segment(segment)
        }
    }

    fn params(&self) -> Boxed<'a> {
        value::owned_map(
            (0..self.captures.len()).map(|at| (Cow::Borrowed(self.captures[at].0), self.captured(at))),
        )
    }
}

/// Variables of an evaluation for a connection.
#[derive(Debug)]
pub struct CallerScope<'a> {
    connection: Connection<'a>,
    claims: &'a str,
    identity: Option<(&'a str, &'a str)>,
    target: Option<Target<'a>>,
    now: i64,
    claims_value: OnceLock<Option<Boxed<'a>>>,
    connection_value: OnceLock<Boxed<'a>>,
    params_value: OnceLock<Boxed<'a>>,
}

impl<'a> CallerScope<'a> {
    /// A scope with `connection`, `claims` (raw JSON; none where it is empty) and `now`, in Unix seconds as claims count them.
    pub fn new(connection: Connection<'a>, claims: &'a [u8], now: i64) -> Self {
        let claims = std::str::from_utf8(claims).unwrap_or_default();
        Self {
            connection,
            claims: if claims.is_empty() { "{}" } else { claims },
            identity: None,
            target: None,
            now,
            claims_value: OnceLock::new(),
            connection_value: OnceLock::new(),
            params_value: OnceLock::new(),
        }
    }

    /// Adds `user` and `tenant`.
    #[must_use]
    pub fn with_identity(self, user: &'a str, tenant: &'a str) -> Self {
        Self { identity: Some((user, tenant)), ..self }
    }

    /// Adds `channel`, `params` and the captures.
    #[must_use]
    pub fn with_target(self, target: Target<'a>) -> Self {
        Self { target: Some(target), ..self }
    }

    fn connection_value(&self) -> Boxed<'a> {
        let Connection { key, ip, endpoint, query } = self.connection;
        value::map([
            ("id", value::owned_text(key.to_string())),
            ("ip", value::owned_text(ip.to_string())),
            ("endpoint", value::text(endpoint)),
            ("query", value::owned_map(form_urlencoded::parse(query.as_bytes()))),
            ("auth", Box::new(CelNull)),
            // CEL here has no timestamps, and what a greeting tells people is a text.
            (
                "time",
                value::owned_text(jiff::Timestamp::from_second(self.now).unwrap_or_default().to_string()),
            ),
        ])
    }
}

impl VariableResolver for CallerScope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let made = match variable {
            "claims" => self.claims_value.get_or_init(|| value::parse(self.claims).ok()).as_ref()?,
            "connection" => self.connection_value.get_or_init(|| self.connection_value()),
            "user" => return Some(CowVal::Owned(value::text(self.identity?.0))),
            "tenant" => return Some(CowVal::Owned(value::text(self.identity?.1))),
            "now" => return Some(CowVal::owned(CelInt::from(self.now))),
            _ => {
                let target = self.target?;
                if let Some(at) = target.captures.iter().position(|(name, _)| *name == variable) {
                    return Some(CowVal::Owned(match target.captured(at) {
                        Cow::Borrowed(text) => value::text(text),
                        Cow::Owned(text) => value::owned_text(text),
                    }));
                }
                match variable {
                    "channel" => return Some(CowVal::Owned(value::text(target.channel))),
                    "params" => self.params_value.get_or_init(|| target.params()),
                    _ => return None,
                }
            }
        };
        Some(CowVal::Borrowed(made.as_ref()))
    }
}

impl Scope for CallerScope<'_> {
    fn raw(&self, variable: &str) -> Option<&str> {
        (variable == "claims").then_some(self.claims)
    }
}
