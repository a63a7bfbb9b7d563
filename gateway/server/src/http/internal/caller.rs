//! Who asks, and what it may: the scope that a route needs, and the key that has it.

use std::sync::Arc;

use http::HeaderMap;
use rtgw_config::checked::KeyScope;

use crate::auth::{ApiKeys, credential_of_program};
use crate::refusal::Refusal;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: a page without anything of the gateway's in it, because browsers send no key when they open an address.
    Page,
    /// A key, whatever its scopes.
    Key,
    /// A key that may publish somewhere; the handler asks about every channel.
    Publish,
    /// A key with the scope `subscribe`.
    Subscribe,
    /// A key with the scope `presence`.
    Presence,
    /// A key with the scope `disconnect`.
    Disconnect,
    /// A key with the scope `revoke`.
    Revoke,
    /// A key with the scope `read`.
    Read,
    /// A key with the scope `admin`.
    Admin,
    /// The operator's token, and nothing else, where the configuration lists its keys; else a key with the scope `read`.
    Report,
}

impl Need {
    /// As the reference writes it; empty where no scope is needed.
    pub(super) fn scope(self) -> &'static str {
        match self {
            Self::Page | Self::Key => "",
            Self::Publish => "publish:PATTERN",
            Self::Subscribe => "subscribe",
            Self::Presence => "presence",
            Self::Disconnect => "disconnect",
            Self::Revoke => "revoke",
            Self::Read | Self::Report => "read",
            Self::Admin => "admin",
        }
    }

    fn is_met_by(self, scope: &KeyScope) -> bool {
        match scope {
            KeyScope::Admin => true,
            KeyScope::Connect => false,
            KeyScope::Publish(_) => self == Self::Publish,
            KeyScope::Subscribe => self == Self::Subscribe,
            KeyScope::Presence => self == Self::Presence,
            KeyScope::Disconnect => self == Self::Disconnect,
            KeyScope::Revoke => self == Self::Revoke,
            KeyScope::Read => matches!(self, Self::Read | Self::Report),
        }
    }
}

/// Who asks; in the extensions of a request that was let through.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// This machine's user, where the manifest has no keys.
    Local,
    /// The operator of the cluster; it gets no further than to the report.
    Operator,
    /// A program with a key.
    Program {
        /// The key's name in the manifest.
        name: Box<str>,
        /// What it may.
        scopes: Arc<[KeyScope]>,
    },
}

impl Caller {
    /// The program whose key `headers` bring.
    ///
    /// # Errors
    /// 400 where there are several, 401 where there is none that is known.
    pub(super) fn find(keys: &ApiKeys, headers: &HeaderMap) -> Result<Self, Refusal> {
        let credential = credential_of_program(headers)?.ok_or_else(|| {
            unauthorized("an API key of the manifest is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        })?;
        let key = keys.key(&credential.text).ok_or_else(|| unauthorized("there is no such API key"))?;
        Ok(Self::Program { name: key.name().into(), scopes: Arc::clone(key.scopes()) })
    }

    /// Who it is, for what is kept apart by caller.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Local | Self::Operator => "",
            Self::Program { name, .. } => name,
        }
    }

    /// Whether it may use a route; `admin` may use all.
    ///
    /// # Errors
    /// 403 with the scope's name.
    pub(super) fn check(&self, need: Need) -> Result<(), Refusal> {
        let scopes = match self {
            Self::Local => return Ok(()),
            Self::Operator if need == Need::Report => return Ok(()),
            Self::Operator => {
                return Err(Refusal::new(403, "forbidden", "the operator has no other business here"));
            }
            Self::Program { scopes, .. } => scopes,
        };
        if matches!(need, Need::Page | Need::Key) || scopes.iter().any(|scope| need.is_met_by(scope)) {
            return Ok(());
        }
        Err(Refusal::new(403, "forbidden", format!("the API key lacks the scope {}", need.scope())))
    }

    /// Whether it may publish to `channel`.
    pub(super) fn may_publish(&self, channel: &str) -> bool {
        let Self::Program { scopes, .. } = self else { return matches!(self, Self::Local) };
        scopes.iter().any(|scope| match scope {
            KeyScope::Admin => true,
            KeyScope::Publish(pattern) => pattern.matches(channel).is_some(),
            _ => false,
        })
    }
}

fn unauthorized(message: &'static str) -> Refusal {
    Refusal::new(401, "unauthorized", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn program(scopes: &[&str]) -> Caller {
        let scopes = scopes.iter().map(|scope| KeyScope::parse(scope).unwrap()).collect();
        Caller::Program { name: "p".into(), scopes }
    }

    /// Every scope opens its own door, `admin` all of them, and nothing else opens any.
    #[test]
    fn scopes_do_not_cross() {
        let needs = [
            Need::Publish,
            Need::Subscribe,
            Need::Presence,
            Need::Disconnect,
            Need::Revoke,
            Need::Read,
            Need::Admin,
        ];
        assert!(needs.into_iter().all(|need| Caller::Operator.check(need).is_err()));
        assert!(Caller::Operator.check(Need::Report).is_ok() && !Caller::Operator.may_publish("x"));
        for scope in KeyScope::WORDS.iter().chain(&["publish:*"]) {
            let caller = program(&[scope]);
            for need in needs {
                let own = need.scope() == *scope || (need == Need::Publish && *scope == "publish:*");
                assert_eq!(caller.check(need).is_ok(), own || *scope == "admin", "{scope} {need:?}");
            }
            assert!(caller.check(Need::Key).is_ok());
        }
        assert!(program(&[]).check(Need::Key).is_ok());
        assert!(
            needs
                .into_iter()
                .all(|need| program(&[]).check(need).is_err() && Caller::Local.check(need).is_ok())
        );
        let refusal = program(&["connect"]).check(Need::Publish).unwrap_err();
        assert_eq!(refusal.message, "the API key lacks the scope publish:PATTERN");
    }

    #[test]
    fn publishing_is_asked_channel_by_channel() {
        let caller = program(&["publish:jobs:*", "publish:room:{room}", "read"]);
        assert!(caller.may_publish("jobs:1:2") && caller.may_publish("room:1"));
        assert!(!caller.may_publish("jobs") && !caller.may_publish("room:1:2") && !caller.may_publish("x"));
        assert!(program(&["admin"]).may_publish("x") && Caller::Local.may_publish("x"));
        assert!(!program(&["subscribe", "connect"]).may_publish("x"));
    }
}
