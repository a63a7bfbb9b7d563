//! The one message that comes before there is a session: `{"type":"auth","data":{"token":T}}`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::members::{pick, string};

/// The token of an `auth` message, read as every command: its name in `type` or else `event`, its arguments in `data` or else beside
/// the name. `None` for any other message.
pub fn auth(text: &str) -> Option<Cow<'_, str>> {
    let [kind, event, data] = pick(text, &["type", "event", "data"]).ok()?;
    if string(kind.or(event)?)? != "auth" {
        return None;
    }
    let [token] = pick(data.map_or(text, RawValue::get), &["token"]).ok()?;
    string(token?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_auth_message_has_a_token() {
        for (text, token) in [
            (r#"{"type":"auth","data":{"token":"a.b.c"}}"#, Some("a.b.c")),
            (r#" {"id":1,"data":{"x":[],"token":"a\u002eb"},"type":"auth"} "#, Some("a.b")),
            (r#"{"event":"auth","token":""}"#, Some("")),
            (r#"{"type":"auth","data":{"token":7}}"#, None),
            (r#"{"type":"auth","data":{}}"#, None),
            (r#"{"type":"auth","data":"a.b.c"}"#, None),
            (r#"{"type":"auth"}"#, None),
            (r#"{"type":"Auth","data":{"token":"a"}}"#, None),
            (r#"{"type":"subscribe","data":{"token":"a"}}"#, None),
            (r#"{"data":{"token":"a"}}"#, None),
            (r#"["auth"]"#, None),
            ("a.b.c", None),
            ("ping", None),
            ("", None),
        ] {
            assert_eq!(auth(text).as_deref(), token, "{text}");
        }
    }
}
