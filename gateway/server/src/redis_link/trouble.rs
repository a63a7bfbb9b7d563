//! What can be wrong with a Redis, in words for metrics and for people.

use redis::{ErrorKind, RedisError};

use crate::trust::TrustError;

/// Why there is no connection, no longer one, or no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// Redis says so, or the library that speaks to it.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// Name or network.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Certificates.
    #[error("TLS: {0}")]
    Tls(String),
    /// Redis ended the connection.
    #[error("the connection was closed")]
    Closed,
    /// Nothing in time.
    #[error("no answer in time")]
    Silent,
    /// There is no connection at the moment.
    #[error("not connected")]
    Down,
    /// An answer that nobody can have meant.
    #[error("Redis answered something else than was asked for")]
    Odd,
}

impl From<TrustError> for Trouble {
    fn from(error: TrustError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl Trouble {
    /// Every word of [`Trouble::reason`].
    pub const REASONS: [&'static str; 14] = [
        "auth",
        "connect",
        "database",
        "disconnected",
        "full",
        "loading",
        "not_connected",
        "permission",
        "protocol",
        "read_only",
        "timeout",
        "tls",
        "too_old",
        "wrong_type",
    ];

    /// The label of metrics: one of [`Trouble::REASONS`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "disconnected",
            Self::Silent => "timeout",
            Self::Down => "not_connected",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Odd => "protocol",
            Self::Redis(error) => reason(error),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self.reason() {
            "auth" => "check the user in the address, and the password that `passwordRef` names",
            "database" => "check the number of the database at the end of the address",
            "full" => "give Redis more memory, or have it evict keys (maxmemory-policy)",
            "loading" => "Redis reads its data; waiting",
            "permission" => {
                "let this user of Redis do that: `rtgw:*` keys and channels, and the channels of sources"
            }
            "read_only" => "this Redis is a replica: name the one that takes writes",
            "tls" => {
                "check that Redis speaks TLS there, and that `caRef` names who signed its certificate for this host"
            }
            "too_old" => "use Redis 6 or newer",
            "wrong_type" => "that key holds something else: name another, or remove it",
            _ => "trying again",
        }
    }

    /// Whether the connection that brought it is of no use any more.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Redis(error) => {
                error.is_unrecoverable_error()
                    || matches!(reason(error), "disconnected" | "read_only" | "auth")
            }
            Self::Down | Self::Silent | Self::Odd => false,
            Self::Connect(_) | Self::Tls(_) | Self::Closed => true,
        }
    }

    /// Whether other credentials could help.
    pub fn is_of_credentials(&self) -> bool {
        self.reason() == "auth"
    }

    /// Whether Redis answered, if only with an error.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Redis(error) if !error.is_io_error() && !error.is_unrecoverable_error())
    }
}

fn reason(error: &RedisError) -> &'static str {
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => "auth",
        Some("NOPERM") => "permission",
        Some("LOADING") => "loading",
        Some("READONLY") => "read_only",
        Some("OOM") => "full",
        Some("WRONGTYPE") => "wrong_type",
        Some("ERR") if error.detail().is_some_and(|detail| detail.contains("DB index")) => "database",
        _ if error.kind() == ErrorKind::AuthenticationFailed => "auth",
        _ if error.kind() == ErrorKind::RESP3NotSupported => "too_old",
        _ if error.is_timeout() => "timeout",
        _ if error.is_connection_dropped() => "disconnected",
        _ if error.is_io_error() => "connect",
        _ => "protocol",
    }
}
