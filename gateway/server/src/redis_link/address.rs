//! Which Redis is meant and whom to trust there, and its address without credentials for people.

use std::fmt;
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use rtgw_config::checked::{Redis, RedisAddress};
use tokio::sync::{OnceCell, watch};
use tokio_rustls::TlsConnector;

use crate::trust::{self, TrustError};

/// The address of a Redis, checked. Printing it shows no credential. Clones share what they have read of the system's certificates, and
/// the credentials, which may change while connections live ([`Address::renew`]).
#[derive(Clone)]
pub struct Address {
    host: String,
    port: u16,
    database: i64,
    secure: bool,
    credentials: Arc<watch::Sender<Credentials>>,
}

/// Who connects, and whom it trusts there.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) settings: RedisConnectionInfo,
    tls: Option<Arc<OnceCell<TlsConnector>>>,
    /// Those before, until Redis has taken these.
    pub(super) before: Option<RedisConnectionInfo>,
}

/// An address that cannot be used. Never repeats the address: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not of the form.
    #[error("the Redis address is not usable: {0}; write redis://user@host:port/db, or rediss:// for TLS")]
    Malformed(String),
    /// Bytes of a Secret that are no text.
    #[error("the password of Redis is not UTF-8")]
    Password,
    /// Bytes of a Secret that are no certificates.
    #[error("the Secret that `caRef` names {0}")]
    Ca(TrustError),
}

impl Address {
    /// Checks `address`. A password from a Secret is used rather than one in the URL.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(address: &RedisAddress) -> Result<Self, AddressError> {
        let malformed = |what: &str| AddressError::Malformed(what.to_owned());
        let (scheme, rest) = address.url.split_once("://").ok_or_else(|| malformed("it has no scheme"))?;
        let secure = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(malformed("its scheme is none of Redis")),
        };
        if rest.contains(['?', '#']) {
            return Err(malformed("it has a `?` or `#`"));
        }
        // The library only reads the address; TLS is ours, as in every other connection that the gateway makes.
        let info = format!("redis://{rest}")
            .into_connection_info()
            .map_err(|error| AddressError::Malformed(error.category().to_owned()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err(malformed("it has no host"));
        };
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
        let tls = match (&address.ca, secure) {
            (_, false) => None,
            (None, true) => Some(OnceCell::new()),
            (Some(ca), true) => {
                let trusted = trust::only(&ca.0).map_err(AddressError::Ca)?;
                Some(OnceCell::new_with(Some(TlsConnector::from(trusted))))
            }
        };
        let database = settings.db();
        let credentials = Credentials { settings, tls: tls.map(Arc::new), before: None };
        Ok(Self { host, port, database, secure, credentials: Arc::new(watch::Sender::new(credentials)) })
    }

    /// Goes on with the user, the password and the certificates of `address`: connections that live tell Redis, and later ones begin
    /// with them. Says whether it did, which it does not where `address` is another place.
    ///
    /// # Errors
    /// As [`Address::new`]; then nothing changes.
    pub fn renew(&self, address: &RedisAddress) -> Result<bool, AddressError> {
        let renewed = Self::new(address)?;
        if !self.is_at(&renewed) {
            return Ok(false);
        }
        let renewed = renewed.credentials();
        self.credentials.send_modify(|current| {
            // What Redis has taken last may have to do for a while, if the Secret is ahead of Redis.
            let proven = current.before.take().unwrap_or_else(|| current.settings.clone());
            *current = Credentials { before: Some(proven), ..renewed };
        });
        Ok(true)
    }

    /// Whether both are the same Redis, whoever connects.
    pub fn is_at(&self, other: &Self) -> bool {
        let place = |address: &Self| (address.host.clone(), address.port, address.database, address.secure);
        place(self) == place(other)
    }

    /// Redis has taken `settings`: where they are those of now, nobody needs those before.
    pub(super) fn taken(&self, settings: &RedisConnectionInfo) {
        self.credentials.send_if_modified(|current| {
            if login(&current.settings) == login(settings) {
                current.before = None;
            }
            false
        });
    }

    /// Those of now.
    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Tells when there are others.
    pub(super) fn renewals(&self) -> watch::Receiver<Credentials> {
        self.credentials.subscribe()
    }

    pub(super) fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl Credentials {
    /// `None` where TLS is not asked for.
    pub(super) async fn tls(&self) -> Result<Option<TlsConnector>, TrustError> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let connector = tls.get_or_try_init(async || trust::system().await.map(TlsConnector::from)).await?;
        Ok(Some(connector.clone()))
    }
}

/// The user and the password.
pub(super) fn login(settings: &RedisConnectionInfo) -> (Option<&str>, Option<&str>) {
    (settings.username(), settings.password())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database)
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
        RedisAddress { url: url.to_owned(), password: None, ca: None }
    }

    #[test]
    fn no_credential_is_printed() {
        let mut address = at("redis://user:hunter2@cache:7000/3");
        let printed = format!("{0} {0:?}", Address::new(&address).unwrap());
        assert_eq!(printed, "redis://cache:7000/3 redis://cache:7000/3");
        address.password = Some(Secret(b"from-secret".to_vec()));
        let checked = Address::new(&address).unwrap();
        assert_eq!(login(&checked.credentials().settings), (Some("user"), Some("from-secret")));
        assert!(!format!("{checked:?}").contains("secret"));
    }

    #[test]
    fn the_scheme_says_whether_tls_is_spoken() {
        for (url, printed) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("valkey://[::1]:1/2", "redis://::1:1/2"),
            ("rediss://cache:6380/1", "rediss://cache:6380/1"),
            ("valkeys://app@cache", "rediss://cache:6379/0"),
        ] {
            assert_eq!(Address::new(&at(url)).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_password() {
        for bad in [
            "",
            "cache:6379",
            "http://:hunter2@cache",
            "redis://:hunter2@cache/x",
            "redis://:hunter2@",
            "rediss://:hunter2@cache/#insecure",
            "redis://:hunter2@cache/?protocol=resp2",
            "unix:///hunter2",
        ] {
            let error = Address::new(&at(bad)).unwrap_err();
            assert!(matches!(error, AddressError::Malformed(_)), "{bad}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let binary = RedisAddress { password: Some(Secret(vec![0xff])), ..at("redis://cache") };
        assert!(matches!(Address::new(&binary), Err(AddressError::Password)));
        let error =
            Address::new(&RedisAddress { ca: Some(Secret(b"hunter2".to_vec())), ..at("rediss://cache") });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no certificate") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn credentials_are_renewed_in_all_clones_and_only_at_the_same_place() {
        let with = |url: &str, password: &str| RedisAddress {
            password: Some(Secret(password.as_bytes().to_vec())),
            ..at(url)
        };
        let address = Address::new(&with("redis://app@cache", "one")).unwrap();
        let clone = address.clone();
        for elsewhere in
            ["redis://app@other", "redis://app@cache:6380", "redis://app@cache/1", "rediss://app@cache"]
        {
            assert!(!address.renew(&with(elsewhere, "two")).unwrap(), "{elsewhere}");
        }
        let now = || {
            let Credentials { settings, before, .. } = clone.credentials();
            (
                settings.password().unwrap().to_owned(),
                before.map(|before| before.password().unwrap().to_owned()),
            )
        };
        let expected = |now: &str, before: Option<&str>| (now.to_owned(), before.map(ToOwned::to_owned));
        assert_eq!(now(), expected("one", None));
        assert!(address.renew(&with("redis://app@cache:6379/0", "two")).unwrap());
        let two = clone.credentials().settings;
        assert!(address.renew(&with("redis://app@cache", "three")).unwrap());
        assert_eq!(now(), expected("three", Some("one")), "the last ones that Redis has taken are kept");
        address.taken(&two);
        assert_eq!(now(), expected("three", Some("one")), "an answer about those between says nothing");
        address.taken(&clone.credentials().settings);
        assert_eq!(now(), expected("three", None));
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
