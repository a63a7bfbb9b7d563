//! Where a client stands in the channels that it hears, read from what it is told, so that it can ask for what it missed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What the gateway itself says; everything else is a publication.
const OWN: [&str; 11] = [
    "connected",
    "error",
    "gap",
    "join",
    "leave",
    "pong",
    "reconnect",
    "refreshed",
    "subscribed",
    "token_expiring",
    "unsubscribed",
];

/// Positions by channel.
#[derive(Debug, Default)]
pub(super) struct Positions {
    known: BTreeMap<String, Value>,
    /// Publications came that do not say where they stand, so nobody knows any more how far the client has heard.
    unplaced: bool,
    /// It is not the first connection.
    again: bool,
}

impl Positions {
    /// The connection was lost, and another begins.
    pub(super) fn reconnected(&mut self) {
        self.again = true;
        if self.unplaced {
            self.known.clear();
        }
        self.unplaced = false;
    }

    /// What `recover` of a `subscribe` says; `None` where nobody knows from where.
    pub(super) fn of(&self, channel: &str) -> Option<&Value> {
        self.known.get(channel)
    }

    /// The channels that have one.
    pub(super) fn channels(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Reads a text message. Gives what a person should know that the message does not say.
    pub(super) fn hear(&mut self, text: &str) -> Vec<String> {
        match serde_json::from_str(text) {
            // With `?batch=1`.
            Ok(Value::Array(messages)) => {
                messages.iter().filter_map(|message| self.hear_one(message)).collect()
            }
            Ok(message) => self.hear_one(&message).into_iter().collect(),
            Err(_) => Vec::new(),
        }
    }

    fn hear_one(&mut self, message: &Value) -> Option<String> {
        let name = message["type"].as_str().or(message["event"].as_str()).unwrap_or_default();
        let data = &message["data"];
        if let Some(channel) = message["channel"].as_str() {
            if let Some(place) = place(message) {
                self.known.insert(channel.to_owned(), place);
            }
            return None;
        }
        if name != "subscribed" {
            self.unplaced |= !self.known.is_empty() && !OWN.contains(&name);
            return None;
        }
        let channel = data["channel"].as_str()?;
        match place(data) {
            Some(place) => self.known.insert(channel.to_owned(), place),
            None => self.known.remove(channel),
        };
        if !self.again || data["recovered"] == true {
            return None;
        }
        let why = match (data.get("recovered"), self.known.contains_key(channel)) {
            (Some(_), _) => "the gateway cannot say what it was",
            (None, true) => "the endpoint's publications say no positions (`metadata: true`)",
            (None, false) => "it keeps no history",
        };
        Some(format!("{channel}: what was published meanwhile is missing; {why}"))
    }
}

fn place(object: &Value) -> Option<Value> {
    let (offset, epoch) = (object["offset"].as_u64()?, object["epoch"].as_str()?);
    Some(json!({"offset": offset, "epoch": epoch}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(positions: &mut Positions, messages: &[Value]) -> Vec<String> {
        messages.iter().flat_map(|message| positions.hear(&message.to_string())).collect()
    }

    fn subscribed(data: &Value) -> Value {
        json!({"type": "subscribed", "id": 1, "timestamp": "…", "data": data})
    }

    fn stands(positions: &Positions, channel: &str) -> Option<u64> {
        positions.of(channel)?["offset"].as_u64()
    }

    #[test]
    fn a_position_is_that_of_the_last_publication_or_of_the_answer() {
        let mut positions = Positions::default();
        let greeting = json!({"type": "hello"});
        hear(&mut positions, &[greeting, subscribed(&json!({"channel": "a", "offset": 4, "epoch": "e"}))]);
        assert_eq!(stands(&positions, "a"), Some(4));
        let batch = json!([
            {"type": "x", "data": {}, "channel": "a", "offset": 5, "epoch": "e"},
            {"event": "x", "data": {}, "channel": "b", "offset": 9, "epoch": "e"},
            {"type": "gap", "data": {"channel": "a", "reason": "missed"}},
            {"type": "x", "data": {}, "channel": "none"},
        ]);
        assert_eq!(hear(&mut positions, &[batch]), [""; 0]);
        positions.reconnected();
        assert_eq!((stands(&positions, "a"), stands(&positions, "b")), (Some(5), Some(9)));
        assert_eq!(Vec::from_iter(positions.channels()), ["a", "b"]);
        let recovered = json!({"channel": "a", "offset": 5, "epoch": "e", "recovered": true});
        assert_eq!(hear(&mut positions, &[subscribed(&recovered)]), [""; 0]);
    }

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let mut positions = Positions::default();
        let place = json!({"channel": "a", "offset": 4, "epoch": "e"});
        assert_eq!(hear(&mut positions, &[subscribed(&place)]), [""; 0], "nothing was before");
        hear(&mut positions, &[json!({"type": "x", "timestamp": "…", "data": {"n": 1}})]);
        positions.reconnected();
        assert_eq!(stands(&positions, "a"), None, "it would be given again what it heard");
        let told = hear(&mut positions, &[subscribed(&place)]);
        assert!(told[0].contains("metadata"), "{told:?}");
        positions.reconnected();
        let lost = json!({"channel": "a", "offset": 8, "epoch": "f", "recovered": false});
        let told = hear(&mut positions, &[subscribed(&lost), subscribed(&json!({"channel": "plain"}))]);
        assert!(told[0].contains("cannot say") && told[1].contains("plain: "), "{told:?}");
        assert!(told[1].contains("no history"), "{told:?}");
        assert_eq!(stands(&positions, "a"), Some(8));
        for nonsense in ["", "[1]", "7", "{\"type\":\"subscribed\"}", "{\"data\":{\"offset\":-1}}"] {
            positions.hear(nonsense);
        }
        assert_eq!(stands(&positions, "a"), Some(8));
    }
}
