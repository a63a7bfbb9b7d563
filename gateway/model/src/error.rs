//! What a client is told when a command is not carried out.

use std::borrow::Cow;

/// The error codes of the JSON protocol; part of the contract with clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The text is not a JSON object.
    BadJson,
    /// A member is missing or of the wrong kind.
    BadRequest,
    /// No such command.
    UnknownType,
    /// No rule of the manifest declares the channel.
    UnknownChannel,
    /// No rule of the channel declares the filter.
    UnknownFilter,
    /// A rule says no.
    Forbidden,
    /// The connection holds as many subscriptions as it may.
    TooManySubscriptions,
    /// The connection sends faster than it may.
    RateLimited,
    /// A value above its bound.
    TooLarge,
    /// A refreshed token names somebody else.
    IdentityChanged,
    /// The feature is off for this channel, or the broker is away.
    NotAvailable,
    /// No answer in time.
    Timeout,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 13] = [
        Self::BadJson,
        Self::BadRequest,
        Self::UnknownType,
        Self::UnknownChannel,
        Self::UnknownFilter,
        Self::Forbidden,
        Self::TooManySubscriptions,
        Self::RateLimited,
        Self::TooLarge,
        Self::IdentityChanged,
        Self::NotAvailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadRequest => "bad_request",
            Self::UnknownType => "unknown_type",
            Self::UnknownChannel => "unknown_channel",
            Self::UnknownFilter => "unknown_filter",
            Self::Forbidden => "forbidden",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::IdentityChanged => "identity_changed",
            Self::NotAvailable => "not_available",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// Whether the same command may succeed later.
    pub fn temporary(self) -> bool {
        matches!(self, Self::RateLimited | Self::NotAvailable | Self::Timeout | Self::Internal)
    }
}

/// A command that was refused, with a sentence for the developer of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// One sentence: what was wrong and what to do.
    pub message: Cow<'static, str>,
}

impl Denied {
    /// A refusal with a sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}
