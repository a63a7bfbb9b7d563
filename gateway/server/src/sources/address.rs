//! Which Redis a source reads, and its address without credentials for people.

use std::fmt;

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use rtgw_config::checked::{Redis, RedisAddress};

/// The address of a Redis, checked. Printing it shows no credential.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
}

/// An address that cannot be used. Never repeats the address: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `rediss://`.
    #[error("TLS to Redis (rediss://, valkeys://) is not in this version; use redis://")]
    Tls,
    /// The rest.
    #[error("the Redis address is not usable: {0}; write redis://host:port/db")]
    Malformed(String),
    /// Bytes of a Secret that are no text.
    #[error("the password of Redis is not UTF-8")]
    Password,
}

impl Address {
    /// Checks `address`. A password from a Secret is used rather than one in the URL.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(address: &RedisAddress) -> Result<Self, AddressError> {
        if ["rediss:", "valkeys:"].iter().any(|scheme| address.url.starts_with(scheme)) {
            return Err(AddressError::Tls);
        }
        let info = address
            .url
            .as_str()
            .into_connection_info()
            .map_err(|error| AddressError::Malformed(error.category().to_owned()))?;
        // RESP3 lets one connection be asked and be subscribed, and pushes go through a sender of ours, which is bounded.
        let mut settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("rtgw", env!("CARGO_PKG_VERSION"));
        if let Some(password) = &address.password {
            settings =
                settings.set_password(std::str::from_utf8(&password.0).map_err(|_| AddressError::Password)?);
        }
        Ok(Self { info: info.set_redis_settings(settings) })
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}/{}", self.info.addr(), self.info.redis_settings().db())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The Redis that a source reads: that of the command line, its own, or the gateway's; `None` when there is none to read.
pub fn choose<'a>(
    command_line: Option<&'a RedisAddress>,
    own: Option<&'a RedisAddress>,
    gateway: &'a Redis,
) -> Option<&'a RedisAddress> {
    command_line.or(own).or(match gateway {
        Redis::External(address) => Some(address),
        Redis::Embedded => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rtgw_config::checked::Secret;

    use super::*;

    fn at(url: &str) -> RedisAddress {
        RedisAddress { url: url.to_owned(), password: None }
    }

    #[test]
    fn no_credential_is_printed() {
        let mut address = at("redis://user:hunter2@cache:7000/3");
        let printed = format!("{0} {0:?}", Address::new(&address).unwrap());
        assert_eq!(printed, "redis://cache:7000/3 redis://cache:7000/3");
        address.password = Some(Secret(b"from-secret".to_vec()));
        let checked = Address::new(&address).unwrap();
        assert_eq!(checked.info().redis_settings().password(), Some("from-secret"));
        assert!(!format!("{checked:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_password() {
        assert_eq!(Address::new(&at("rediss://cache")).unwrap_err(), AddressError::Tls);
        for bad in
            ["", "cache:6379", "http://:hunter2@cache", "redis://:hunter2@cache/x", "redis://:hunter2@"]
        {
            let error = Address::new(&at(bad)).unwrap_err();
            assert!(matches!(error, AddressError::Malformed(_)), "{bad}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let binary = RedisAddress { url: "redis://cache".to_owned(), password: Some(Secret(vec![0xff])) };
        assert_eq!(Address::new(&binary).unwrap_err(), AddressError::Password);
    }

    #[test]
    fn the_command_line_goes_before_the_source_before_the_gateway() {
        let (line, own, gateway) =
            (at("redis://line"), at("redis://own"), Redis::External(at("redis://gateway")));
        let chosen = |line, own, gateway| choose(line, own, gateway).map(|address| address.url.clone());
        assert_eq!(chosen(Some(&line), Some(&own), &gateway).unwrap(), "redis://line");
        assert_eq!(chosen(None, Some(&own), &gateway).unwrap(), "redis://own");
        assert_eq!(chosen(None, None, &gateway).unwrap(), "redis://gateway");
        assert_eq!(chosen(None, None, &Redis::Embedded), None);
    }
}
