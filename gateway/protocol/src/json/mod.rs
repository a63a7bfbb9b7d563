//! The JSON wire: one object per text message.
//!
//! [`decode`] reads commands, [`auth`] what may come before them; [`publication`], [`message`] and [`greeting`] write what the server says. All of them speak
//! of payloads; frames are made by [`crate::wires`].

mod auth;
mod decode;
mod encode;
mod lists;
mod members;
mod refusal;
mod timestamp;

pub use auth::auth;
pub use decode::decode;
pub use encode::{greeting, message, publication};

/// The version of the protocol, told in the default greeting.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest `id` of a command, as raw JSON, in bytes.
pub const ID_BYTES: usize = 128;

/// Publications of a page of history unless asked otherwise.
pub const HISTORY_LIMIT: u32 = 100;

/// Most publications of a page of history.
pub const MOST_HISTORY: u32 = 1_000;

/// Deepest nesting of what a client publishes; parsers of its readers give up not far above.
pub const NESTING: usize = 128;

/// Whether `json`, which must be JSON, nests deeper than [`NESTING`].
pub fn too_deep(json: &str) -> bool {
    members::deeper_than(NESTING, json)
}

/// How a publication is dressed, and under which member messages carry their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// `{"type":EVENT,"timestamp":…,"data":DATA}`.
    Typed,
    /// `{"event":EVENT,"data":DATA,"timestamp":…}`, and `priority` where the publication has one.
    Event,
    /// DATA itself; the server's own messages look as in `Typed`.
    Raw,
}

impl Envelope {
    /// The member that holds the name of a message of the server.
    pub fn name_member(self) -> &'static str {
        match self {
            Self::Typed | Self::Raw => "type",
            Self::Event => "event",
        }
    }
}
