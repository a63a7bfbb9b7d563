//! The words of refusals, and how much of a client's own words they repeat.

use std::borrow::Cow;

use rtgw_model::{Denied, ErrorCode};

/// How much of a name that nobody knows is repeated in an error.
const SHOWN_CHARS: usize = 40;

pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Denied {
    Denied::new(ErrorCode::BadRequest, message)
}

/// A name of the client's as an error may repeat it: escaped and cut.
pub(super) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
