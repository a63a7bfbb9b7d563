//! Which connections a request is about.

use std::sync::Arc;

use rtgw_hub::Target;
use rtgw_model::ConnectionKey;

use super::body::bad;
use crate::refusal::Refusal;

/// Longest name of a user or tenant, bytes: what a credential's claims may hold.
const NAME_BYTES: usize = 4096;

/// The members that choose connections: those that fit every member that is given.
pub(super) struct Whom<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
    pub(super) connection: Option<&'a str>,
}

impl Whom<'_> {
    /// Whom they choose.
    ///
    /// # Errors
    /// 400 where none is given: everybody is never meant by forgetting something. Also for an empty name, which would be all who have
    /// none.
    pub(super) fn target(&self) -> Result<Target, Refusal> {
        if self.user.is_none() && self.tenant.is_none() && self.connection.is_none() {
            return Err(bad("user, tenant or connection is missing: say which connections are meant"));
        }
        let user = self.user.map(|user| name("user", user)).transpose()?;
        let tenant = self.tenant.map(|tenant| name("tenant", tenant)).transpose()?;
        let key = self.connection.map(|text| connection("connection", text)).transpose()?;
        Ok(Arc::new(move |own, principal| {
            key.is_none_or(|key| key == own)
                && user.as_ref().is_none_or(|user| *user == principal.user)
                && tenant.as_ref().is_none_or(|tenant| *tenant == principal.tenant)
        }))
    }
}

/// A name that somebody can have.
///
/// # Errors
/// 400.
pub(super) fn name(member: &'static str, text: &str) -> Result<Box<str>, Refusal> {
    match text.len() {
        0 => Err(bad(format!("{member} is empty"))),
        1..=NAME_BYTES => Ok(text.into()),
        _ => Err(bad(format!("{member} is longer than {NAME_BYTES} bytes"))),
    }
}

/// A connection's id as clients see it: 32 hexadecimal digits.
///
/// # Errors
/// 400.
pub(super) fn connection(member: &'static str, text: &str) -> Result<ConnectionKey, Refusal> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let key = u128::from_str_radix(text, 16).ok().filter(|_| is_id);
    key.map(ConnectionKey)
        .ok_or_else(|| bad(format!("{member} must be a connection_id: 32 hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rtgw_model::Principal;

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
        let id = format!("{:032x}", 7);
        let fits = |user, tenant, connection| {
            let target = Whom { user, tenant, connection }.target().unwrap();
            [("ann", "acme", 7), ("ann", "other", 8), ("bob", "acme", 9)]
                .map(|(user, tenant, key)| target(ConnectionKey(key), &principal(user, tenant)))
        };
        assert_eq!(fits(Some("ann"), None, None), [true, true, false]);
        assert_eq!(fits(Some("ann"), Some("acme"), None), [true, false, false]);
        assert_eq!(fits(None, Some("acme"), None), [true, false, true]);
        assert_eq!(fits(None, None, Some(&id)), [true, false, false]);
        assert_eq!(fits(Some("bob"), None, Some(&id)), [false; 3]);
    }

    #[test]
    fn nobody_is_meant_by_accident() {
        let refused = |user: Option<&str>| Whom { user, tenant: None, connection: None }.target().is_err();
        assert!(refused(None) && refused(Some("")) && refused(Some(&"x".repeat(4097))));
        for id in
            ["", "7", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31))]
        {
            assert!(connection("connection", id).is_err(), "{id}");
        }
    }
}
