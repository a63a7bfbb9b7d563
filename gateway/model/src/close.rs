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

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $meaning:literal;)*) => {
        /// Why a connection ended, for whoever looks at the numbers; a label of metrics, so a fixed table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseReason { $(#[doc = $meaning] $name,)* }

        impl CloseReason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [CloseReason] = &[$(CloseReason::$name,)*];

            /// The word in metrics.
            pub fn as_str(self) -> &'static str { match self { $(CloseReason::$name => $word,)* } }

            /// What happened, for the reference: a sentence without its full stop.
            pub fn meaning(self) -> &'static str { match self { $(CloseReason::$name => $meaning,)* } }
        }
    };
}

close_reasons! {
    Client = "client", "The client said goodbye by a close frame; the code is its own";
    Lost = "lost", "The socket ended without a close frame: a network, a crash, a laptop that was shut";
    Heartbeat = "heartbeat", "Nothing was heard, pongs included, for the endpoint's `heartbeat.timeout`";
    Idle = "idle", "No data frame came for the endpoint's `heartbeat.idle` (4408)";
    SlowConsumer = "slow_consumer", "The client read so slowly that its queue overflowed (`limits.connection.queueBytes`, `queueMessages`)";
    Rate = "rate", "The client kept sending above its message rate (`limits.connection.messagesPerSecond`, `burst`)";
    TooBig = "too_big", "The client sent a message above `limits.connection.messageBytes`";
    ProtocolError = "protocol_error", "The client broke RFC 6455, sent text that is not UTF-8, or data of a kind that the endpoint does not take";
    Drain = "drain", "The pod sent the client elsewhere: a drain, a restart, its age";
    Stopped = "stopped", "The process ended while the connection was still open";
    Overloaded = "overloaded", "The pod shed the connection to save itself";
    Token = "token", "The token is missing, has expired or was revoked";
    Removed = "removed", "The connection is not allowed any more, or was removed by the API";
    Replaced = "replaced", "A newer connection of the same user took its place";
    Internal = "internal", "A fault of the server; its log says more";
}

impl CloseCode {
    /// The usual reason of this code.
    pub fn usual_reason(self) -> CloseReason {
        match self {
            Self::Normal | Self::GoingAway => CloseReason::Stopped,
            Self::ProtocolError | Self::UnsupportedData | Self::InvalidText => CloseReason::ProtocolError,
            Self::TooBig => CloseReason::TooBig,
            Self::Restart => CloseReason::Drain,
            Self::Overloaded => CloseReason::Overloaded,
            Self::Unauthenticated => CloseReason::Token,
            Self::Forbidden => CloseReason::Removed,
            Self::TimedOut => CloseReason::Heartbeat,
            Self::Replaced => CloseReason::Replaced,
            Self::RateLimited => CloseReason::Rate,
            Self::SlowConsumer => CloseReason::SlowConsumer,
            Self::Internal => CloseReason::Internal,
        }
    }
}

/// A connection's end as this side decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code on the wire.
    pub code: CloseCode,
    /// The reason on the wire: at most 123 bytes of UTF-8 (RFC 6455 section 5.5).
    pub reason: Cow<'static, str>,
    /// The reason in metrics.
    pub why: CloseReason,
}

impl Close {
    /// A close with a sentence for the wire, counted under the usual reason of its code.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), why: code.usual_reason() }
    }

    /// A restart or drain that asks the client to come back after `after_ms`.
    pub fn restart(after_ms: u64) -> Self {
        Self::new(CloseCode::Restart, format!("reconnect;after={after_ms}"))
    }

    /// Shed to save the pod; the client is asked to stay away for `after_ms`.
    pub fn overloaded(after_ms: u64) -> Self {
        Self::new(CloseCode::Overloaded, format!("after={after_ms}"))
    }

    /// The same, counted under another reason than the usual one of its code.
    #[must_use]
    pub fn because(self, why: CloseReason) -> Self {
        Self { why, ..self }
    }
}
