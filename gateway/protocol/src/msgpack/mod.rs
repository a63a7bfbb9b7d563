//! The MessagePack wire: the objects of the JSON wire in binary messages (the specification is `spec.md` of msgpack/msgpack).
//!
//! Nothing is interpreted here. [`decode`] writes what came as JSON and has [`crate::json::decode`] read it, so there is one
//! meaning of every command; [`from_json`] turns what the JSON wire writes into MessagePack.

mod read;
mod write;

pub use read::{Unreadable, to_json};
pub use write::from_json;
pub(crate) use write::unsigned;

use std::borrow::Cow;

use rtgw_model::{CommandNames, Denied, ErrorCode, Intent, Rejection, Request};

use crate::json;

/// Deepest nesting of a message: what is published may be as deep as in JSON, inside `data` and the message itself.
pub const NESTING: usize = json::NESTING + 2;

/// Reads one message, which may take at most `limit` bytes as JSON; `declared` are the commands that the manifest defines. The text `ping` is a ping, as on the JSON wire.
///
/// # Errors
/// The refusal to answer with; the connection lives on. `bad_request` for what is no MessagePack or cannot be JSON (binary,
/// extensions, keys that are not text, NaN), for a key that is repeated, and for too deep a nesting; `too_large` above `limit`.
pub fn decode(bytes: &[u8], limit: usize, declared: &CommandNames) -> Result<Request, Rejection> {
    let refused = |denied| Rejection { id: None, denied };
    let text = to_json(bytes, limit).map_err(|why| refused(why.denied()))?;
    match text.as_bytes().first() {
        Some(b'{') => json::decode(&text, declared),
        _ if text == "\"ping\"" => Ok(Request { id: None, intent: Intent::Ping }),
        _ => Err(refused(Denied::new(ErrorCode::BadRequest, "the message must be a map"))),
    }
}

impl Unreadable {
    fn denied(self) -> Denied {
        let code = match self {
            Self::TooLarge => ErrorCode::TooLarge,
            _ => ErrorCode::BadRequest,
        };
        Denied::new(code, Cow::Owned(format!("the message {self}")))
    }
}
