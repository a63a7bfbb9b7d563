//! The gateway's vocabulary: plain values that every part shares. No async, no I/O, no wire format.
//!
//! `hub` and `protocol` depend on this crate and on nothing else of ours; it depends on nothing of ours.

mod admission;
mod channel;
mod close;
mod command;
mod connection;
mod encoded;
mod encoder;
mod error;
mod event;
mod expiry;
mod filter;
mod histogram;
mod intent;
mod outgoing;
mod policy;
mod presence;
mod principal;
mod publication;
mod time;
mod token;

pub use admission::{Admission, Heartbeat, InboundRate, OutboxLimits};
pub use channel::{
    CHANNEL_BYTES, ChannelName, ChannelNameError, SEGMENT_BYTES, escape_segment, is_channel_byte,
    unescape_segment,
};
pub use close::{Close, CloseCode, CloseReason, Retry};
pub use command::{CommandName, CommandNames};
pub use connection::{ConnectionId, ConnectionKey};
pub use encoded::Encoded;
pub use encoder::{Encoder, Variant};
pub use error::{Denied, ErrorCode};
pub use event::{Event, GapReason, Message, UnsubscribeReason};
pub use expiry::Expiry;
pub use filter::{FILTER_LISTS, FILTER_VALUE_BYTES, FILTER_VALUES, FilterLists, ListName};
pub use histogram::{Bounds, CLASSES, Histogram};
pub use intent::{CommandId, Intent, Recover, Rejection, Request};
pub use outgoing::Outgoing;
pub use policy::{
    ChannelPolicy, DeliveryPolicy, EndpointIx, HistoryMode, HistoryPolicy, Priority, RuleIx, SlowConsumer,
    Throttle,
};
pub use presence::{
    ANNOUNCED_CLIENTS, Announced, Arrival, INFO_BYTES, MEMBERS, MOST_MEMBERS, Member, Members, Presence,
};
pub use principal::Principal;
pub use publication::{
    CHANNELS, EVENT_BYTES, Position, Positions, Publication, PublicationId, TAG_BYTES, TAGS, Tags,
};
pub use time::{Micros, Millis, Now, Timestamp};
pub use token::Token;
