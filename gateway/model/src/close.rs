//! Why a connection ends: one table of close codes, shared with the clients (RFC 6455 section 7.4, 4000-4999 are ours).

use std::borrow::Cow;

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Do not come back by yourself.
    Stop,
    /// Come back, after the delay in the reason when there is one.
    Reconnect,
    /// Come back with a growing delay.
    BackOff,
    /// Get a new token first.
    RefreshToken,
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $retry:ident;)*) => {
        /// A close code that this server sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode { $($(#[$doc])* $name = $code,)* }

        impl CloseCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$name,)*];

            /// The number on the wire.
            pub fn code(self) -> u16 { self as u16 }

            /// The name used in metrics and logs.
            pub fn name(self) -> &'static str { match self { $(CloseCode::$name => stringify!($name),)* } }

            /// What the client should do.
            pub fn retry(self) -> Retry { match self { $(CloseCode::$name => Retry::$retry,)* } }
        }
    };
}

close_codes! {
    /// The purpose is fulfilled.
    Normal = 1000, Stop;
    /// The endpoint goes away.
    GoingAway = 1001, Reconnect;
    /// A violation of RFC 6455.
    ProtocolError = 1002, Stop;
    /// A kind of data that the endpoint does not take (binary on a text protocol).
    UnsupportedData = 1003, Stop;
    /// Text that is not UTF-8.
    InvalidText = 1007, Stop;
    /// A message above the limit.
    TooBig = 1009, Stop;
    /// Restart, drain or connection age; the reason says `reconnect;after=MS`.
    Restart = 1012, Reconnect;
    /// Overloaded or shed; the reason says `after=MS`.
    Overloaded = 1013, BackOff;
    /// The token is missing, expired or revoked.
    Unauthenticated = 4401, RefreshToken;
    /// Not allowed, or removed by the API.
    Forbidden = 4403, Stop;
    /// Nothing was heard for too long.
    TimedOut = 4408, Reconnect;
    /// A newer connection of the same user took its place.
    Replaced = 4409, Stop;
    /// Too many messages, or a limit at admission.
    RateLimited = 4429, BackOff;
    /// The client reads too slowly; recover after reconnecting.
    SlowConsumer = 4430, Reconnect;
    /// A fault of the server.
    Internal = 4500, BackOff;
}

/// A connection's end as this side decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code on the wire.
    pub code: CloseCode,
    /// The reason on the wire: at most 123 bytes of UTF-8 (RFC 6455 section 5.5).
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close with a fixed reason.
    pub fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// A restart or drain that asks the client to come back after `after_ms`.
    pub fn restart(after_ms: u64) -> Self {
        Self { code: CloseCode::Restart, reason: Cow::Owned(format!("reconnect;after={after_ms}")) }
    }
}
