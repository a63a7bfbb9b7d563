//! Commands that the application answers, by a signed POST of JSON.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use rtgw_config::checked::{CommandWebhook, Secret};
use rtgw_model::{Denied, EVENT_BYTES, ErrorCode, Event, Principal};
use rtgw_protocol::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Sent;
use crate::expressions::Connection;
use crate::outbound::{Outbound, OutboundError, Target};
use crate::pace::Pace;

/// Longest sentence of the application's that a client is told, characters.
const MESSAGE_CHARS: usize = 256;

static FAILURES: Pace = Pace::every_ms(10_000);

/// An application that is asked.
pub(super) struct Webhook {
    target: Target,
    timeout: Duration,
    key: Secret,
}

/// What the application is told. Raw members were JSON already.
#[derive(Serialize)]
struct Body<'a> {
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    data: &'a RawValue,
    user: &'a str,
    tenant: &'a str,
    claims: &'a RawValue,
    connection: Caller<'a>,
}

#[derive(Serialize)]
struct Caller<'a> {
    id: String,
    ip: String,
    endpoint: &'a str,
}

/// What the application answers; other members are ignored.
#[derive(Deserialize)]
struct Answer<'a> {
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Webhook {
    /// Prepares `webhook`.
    pub(super) fn new(webhook: &CommandWebhook) -> Self {
        Self {
            target: Target::new(&webhook.url, webhook.max_in_flight as usize),
            timeout: webhook.timeout,
            key: webhook.key.clone(),
        }
    }

    /// Asks the application; gives what it wants said.
    ///
    /// # Errors
    /// The application's own refusal; `timeout` where it does not answer in time; `not_available` where it cannot be asked or answers
    /// what cannot be understood.
    pub(super) async fn ask(&self, outbound: &Outbound, body: Vec<u8>) -> Result<Event, Denied> {
        let asked = outbound.post_json(&self.target, body.into(), self.timeout, Some(&self.key.0)).await;
        let answer = asked.map_err(|error| {
            if let Some(unsaid) = FAILURES.due() {
                tracing::warn!(%error, unsaid, "the application did not answer a command");
            }
            match error {
                OutboundError::Timeout(_) => {
                    Denied::new(ErrorCode::Timeout, "the application did not answer in time")
                }
                OutboundError::Busy => Denied::new(
                    ErrorCode::NotAvailable,
                    "too many such commands are under way; try again later",
                ),
                _ => Denied::new(ErrorCode::NotAvailable, "the application cannot be asked; try again later"),
            }
        })?;
        understood(&answer)
    }
}

fn raw(json: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(json).ok()
}

/// What the application is asked.
pub(super) fn body(sent: &Sent, connection: &Connection<'_>, principal: &Principal) -> Vec<u8> {
    let body = Body {
        command: sent.name.as_str(),
        id: sent.id.as_deref().and_then(|id| serde_json::from_str(id).ok()),
        data: raw(&sent.data).unwrap_or(RawValue::NULL),
        user: &principal.user,
        tenant: &principal.tenant,
        claims: raw(principal.claims.as_bytes()).or_else(|| raw(b"{}")).unwrap_or(RawValue::NULL),
        connection: Caller {
            id: connection.key.to_string(),
            ip: connection.ip.to_string(),
            endpoint: connection.endpoint,
        },
    };
    // Every member was JSON or text, so this cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn understood(answer: &Bytes) -> Result<Event, Denied> {
    if answer.trim_ascii().is_empty() {
        return Ok(Event::Acknowledged(Bytes::from_static(b"null")));
    }
    let nonsense = || {
        if let Some(unsaid) = FAILURES.due() {
            tracing::warn!(unsaid, "the application's answer to a command is not what the guide says");
        }
        Denied::new(ErrorCode::NotAvailable, "the application's answer cannot be understood")
    };
    let Answer { event, data, error } = serde_json::from_slice(answer).map_err(|_| nonsense())?;
    if let Some(Refusal { code, message }) = error {
        // The codes of the contract, so that clients need to know no others.
        let known = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code);
        let message: String = message.chars().take(MESSAGE_CHARS).collect();
        return Err(Denied::new(known.unwrap_or(ErrorCode::BadRequest), message));
    }
    let data =
        data.map_or_else(|| Bytes::from_static(b"null"), |data| answer.slice_ref(data.get().as_bytes()));
    if std::str::from_utf8(&data).is_ok_and(json::too_deep) {
        return Err(nonsense());
    }
    match event {
        None => Ok(Event::Acknowledged(data)),
        Some(event) if (1..=EVENT_BYTES).contains(&event.len()) => {
            Ok(Event::Reply { event: event.into(), data, at: None, priority: None })
        }
        Some(_) => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn says(answer: &'static str) -> Result<Event, (ErrorCode, String)> {
        understood(&Bytes::from_static(answer.as_bytes()))
            .map_err(|denied| (denied.code, denied.message.into_owned()))
    }

    #[test]
    fn answers_are_events_acknowledgements_or_refusals() {
        let reply = |event: &str, data: &'static str| {
            Ok(Event::Reply { event: event.into(), data: data.into(), at: None, priority: None })
        };
        assert_eq!(says(r#"{"event":"e","data": {"n": 1.50} }"#), reply("e", r#"{"n": 1.50}"#));
        assert_eq!(says(r#"{"event":"é\n"}"#), reply("é\n", "null"));
        assert_eq!(says(r#"{"data":[1],"more":1}"#), Ok(Event::Acknowledged("[1]".into())));
        for nothing in ["", " \n", "{}"] {
            assert_eq!(says(nothing), Ok(Event::Acknowledged("null".into())), "{nothing:?}");
        }
        assert_eq!(
            says(r#"{"error":{"code":"forbidden","message":"not yours"},"data":1}"#),
            Err((ErrorCode::Forbidden, "not yours".into()))
        );
        let own = says(r#"{"error":{"code":"sold_out","message":"no seats"}}"#);
        assert_eq!(own, Err((ErrorCode::BadRequest, "no seats".into())));
    }

    #[test]
    fn what_is_no_answer_is_not_passed_on() {
        let long = format!(r#"{{"event":"{}"}}"#, "e".repeat(129));
        let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(129), "]".repeat(129));
        let bad = [
            "<html>",
            "[]",
            "1",
            r#"{"event":1}"#,
            r#"{"event":""}"#,
            r#"{"error":"no"}"#,
            "{\"data\":1",
            &long,
            &deep,
        ];
        for answer in bad {
            let denied = understood(&Bytes::copy_from_slice(answer.as_bytes())).unwrap_err();
            assert_eq!(denied.code, ErrorCode::NotAvailable, "{answer}");
            assert!(!denied.message.contains("html"), "{}", denied.message);
        }
    }
}
