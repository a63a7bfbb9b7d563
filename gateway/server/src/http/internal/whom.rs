//! Which connections a request is about.

use rtgw_model::ConnectionKey;

use super::body::bad;
use crate::cluster;
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
    pub(super) fn checked(&self) -> Result<cluster::Whom, Refusal> {
        if self.user.is_none() && self.tenant.is_none() && self.connection.is_none() {
            return Err(bad("user, tenant or connection is missing: say which connections are meant"));
        }
        Ok(cluster::Whom {
            user: self.user.map(|user| name("user", user)).transpose()?,
            tenant: self.tenant.map(|tenant| name("tenant", tenant)).transpose()?,
            connection: self.connection.map(|text| connection("connection", text)).transpose()?,
        })
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
    use super::*;

    #[test]
    fn nobody_is_meant_by_accident() {
        let refused = |user: Option<&str>| Whom { user, tenant: None, connection: None }.checked().is_err();
        assert!(refused(None) && refused(Some("")) && refused(Some(&"x".repeat(4097))));
        for id in
            ["", "7", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31))]
        {
            assert!(connection("connection", id).is_err(), "{id}");
        }
    }
}
