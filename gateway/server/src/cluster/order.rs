//! What the application orders of connections, as values that travel between pods, and how this pod carries them out.

use std::sync::Arc;

use rtgw_hub::Target;
use rtgw_model::{Close, CloseCode, CloseReason, ConnectionKey, Denied, ErrorCode, Principal, Timestamp};
use serde::{Deserialize, Serialize};

use super::lists::{Channels, Connection, Connections};
use crate::control::Control;
use crate::refusal::Refusal;
use crate::revocations::{Full, Revoked};

/// Which connections are meant: those that fit every member that is given; one at least is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whom {
    /// The user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// The tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Box<str>>,
    /// One, by its id.
    #[serde(skip_serializing_if = "Option::is_none", with = "key")]
    pub connection: Option<ConnectionKey>,
}

impl Whom {
    /// Whom the members choose; everybody where none is given.
    pub fn target(&self) -> Target {
        let Self { user, tenant, connection } = self.clone();
        Arc::new(move |own, principal| {
            connection.is_none_or(|key| key == own)
                && user.as_ref().is_none_or(|user| *user == principal.user)
                && tenant.as_ref().is_none_or(|tenant| *tenant == principal.tenant)
        })
    }
}

/// 128 bits are no number in every JSON.
pub(super) mod key {
    use rtgw_model::ConnectionKey;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde asks for it")]
    pub(crate) fn serialize<S: Serializer>(key: &Option<ConnectionKey>, to: S) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => to.serialize_str(&key.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ConnectionKey>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Some(ConnectionKey(number)))
    }
}

/// An order. Who gives it has checked what can be checked without asking a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Order {
    /// Hear channels.
    Subscribe {
        /// Who.
        whom: Whom,
        /// What.
        channels: Vec<String>,
    },
    /// Hear channels no more.
    Unsubscribe {
        /// Who.
        whom: Whom,
        /// What.
        channels: Vec<String>,
    },
    /// End.
    Disconnect {
        /// Who.
        whom: Whom,
        /// A close code of ours.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// Let nobody in, and close, whom it concerns.
    Revoke {
        /// What counts no more.
        revoked: Revoked,
        /// Until then, Unix milliseconds.
        until: i64,
    },
    /// Go on under another credential of the same user and tenant; who has none is left out.
    Refresh {
        /// Who.
        whom: Whom,
        /// When it ends, Unix milliseconds; as before unless given.
        expires: Option<i64>,
        /// A JSON object; as before unless given.
        claims: Option<Box<str>>,
    },
    /// Show channels that somebody hears.
    Channels(Channels),
    /// Show connections.
    Connections(Connections),
}

/// What came of an order in one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// So many connections did it.
    Affected(u64),
    /// These channels, with how many hear them, in the order of their names; and whether there are more behind them.
    Channels(Vec<(String, u64)>, bool),
    /// These connections in the order of their ids; and whether there are more behind them.
    Connections(Vec<Connection>, bool),
    /// It was not done.
    Refused(String),
}

/// Carries `order` out on this pod's connections.
///
/// # Errors
/// 400 for a channel that is none, 503 where the list of revocations is full; nothing happened then.
pub(super) async fn carry_out(control: &Control, order: Order) -> Result<Answer, Refusal> {
    let affected = match order {
        Order::Subscribe { whom, channels } => {
            // All or none: nobody is subscribed to the first where the second has a slip in its name, or no place.
            let names: Vec<&str> = channels.iter().map(String::as_str).collect();
            control.may_subscribe(&names).map_err(|denied| refused(&denied))?;
            let (target, mut affected) = (whom.target(), 0);
            for channel in &channels {
                let ordered = control.subscribe(Arc::clone(&target), channel).await;
                affected += ordered.map_err(|denied| refused(&denied))?;
            }
            affected
        }
        Order::Unsubscribe { whom, channels } => {
            let (target, mut affected) = (whom.target(), 0);
            for channel in &channels {
                let ordered = control.unsubscribe(Arc::clone(&target), channel).await;
                affected += ordered.map_err(|denied| refused(&denied))?;
            }
            affected
        }
        Order::Disconnect { whom, code, reason } => {
            let code = CloseCode::ALL.iter().find(|known| known.code() == code);
            let code =
                *code.ok_or_else(|| Refusal::new(400, "bad_request", "there is no such close code"))?;
            let close = Close { code, reason: reason.into(), why: CloseReason::Removed };
            control.disconnect(whom.target(), close).await
        }
        Order::Revoke { revoked, until } => {
            let ordered = control.revoke(revoked, Timestamp(until)).await;
            ordered.map_err(|full: Full| Refusal::new(503, "not_available", full.to_string()))?
        }
        Order::Refresh { whom, expires, claims } => renew(control, &whom, expires, claims).await,
        Order::Channels(wanted) => return wanted.show(control).await,
        Order::Connections(wanted) => return wanted.show(control).await,
    };
    Ok(Answer::Affected(affected))
}

async fn renew(control: &Control, whom: &Whom, expires: Option<i64>, claims: Option<Box<str>>) -> u64 {
    let chosen = whom.target();
    // Nobody has no credential that could end or say something else.
    let target =
        Arc::new(move |key, principal: &Principal| !principal.claims.is_empty() && chosen(key, principal));
    let renewal = Arc::new(move |known: &Principal| Principal {
        claims: claims.clone().unwrap_or_else(|| known.claims.clone()),
        expires: expires.map(Timestamp).or(known.expires),
        ..known.clone()
    });
    control.renew(target, renewal).await
}

fn refused(denied: &Denied) -> Refusal {
    let code = denied.code;
    let status = match code {
        ErrorCode::Forbidden => 403,
        ErrorCode::NotAvailable => 503,
        _ => 400,
    };
    Refusal::new(status, code.as_str(), denied.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(user: &str, tenant: &str) -> Principal {
        Principal {
            user: user.into(),
            tenant: tenant.into(),
            claims: "{}".into(),
            ip: [127, 0, 0, 1].into(),
            query: "".into(),
            expires: None,
        }
    }

    #[test]
    fn every_member_narrows() {
        let fits = |user: Option<&str>, tenant: Option<&str>, key: Option<u128>| {
            let (user, tenant) = (user.map(Box::from), tenant.map(Box::from));
            let target = Whom { user, tenant, connection: key.map(ConnectionKey) }.target();
            [("ann", "acme", 7), ("ann", "other", 8), ("bob", "acme", 9)]
                .map(|(user, tenant, key)| target(ConnectionKey(key), &principal(user, tenant)))
        };
        assert_eq!(fits(Some("ann"), None, None), [true, true, false]);
        assert_eq!(fits(Some("ann"), Some("acme"), None), [true, false, false]);
        assert_eq!(fits(None, Some("acme"), None), [true, false, true]);
        assert_eq!(fits(None, None, Some(7)), [true, false, false]);
        assert_eq!(fits(Some("bob"), None, Some(7)), [false; 3]);
    }
}
