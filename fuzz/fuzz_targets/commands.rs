//! Any text as a JSON command: decoding ends, panics never, and keeps its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtgw_model::{CHANNEL_BYTES, CommandNames, FILTER_LISTS, FILTER_VALUE_BYTES, FILTER_VALUES, FilterLists, Intent, MOST_MEMBERS};
use rtgw_protocol::json::{self, ID_BYTES};

fuzz_target!(|text: &str| {
    let names = CommandNames::new(["ask"]);
    let (id, intent) = match json::decode(text, &names) {
        Ok(request) => (request.id, Some(request.intent)),
        Err(rejection) => {
            assert!(rejection.denied.message.len() < 600, "an error repeats too much");
            (rejection.id, None)
        }
    };
    if let Some(id) = id {
        assert!(id.len() <= ID_BYTES && text.contains(&*id), "the id is the client's own");
    }
    match intent {
        Some(Intent::Subscribe { channel, filters, .. }) => {
            assert!(channel.len() <= CHANNEL_BYTES);
            bounded(&filters);
        }
        Some(Intent::Unsubscribe { channel } | Intent::History { channel, .. }) => assert!(channel.len() <= CHANNEL_BYTES),
        Some(Intent::Presence { channel, limit, .. }) => {
            assert!(channel.len() <= CHANNEL_BYTES && limit <= MOST_MEMBERS);
        }
        Some(Intent::Narrow(lists) | Intent::Widen(lists)) => bounded(&lists),
        Some(Intent::Publish { channel, data, .. }) => {
            assert!(channel.len() <= CHANNEL_BYTES);
            let data = std::str::from_utf8(&data).expect("text stays text");
            assert!(text.contains(data), "data is published as it was written");
        }
        Some(Intent::Command { name, data }) => {
            assert_eq!(name.as_str(), "ask");
            let data = std::str::from_utf8(&data).expect("text stays text");
            assert!(data.len() <= 6 * text.len(), "what is left is no longer than the message, but for its escapes");
        }
        Some(Intent::Refresh(token)) => assert!(token.0.len() <= text.len()),
        Some(Intent::Ping) | None => {}
        Some(Intent::Echo { .. }) => unreachable!("no JSON command echoes"),
    }
});

fn bounded(lists: &FilterLists) {
    assert!(lists.0.len() <= FILTER_LISTS);
    for (at, (name, values)) in lists.0.iter().enumerate() {
        assert!(name.len() <= FILTER_VALUE_BYTES && values.len() <= FILTER_VALUES);
        assert!(values.iter().all(|value| value.len() <= FILTER_VALUE_BYTES));
        assert!(lists.0[..at].iter().all(|(other, _)| other != name), "names are unique");
    }
}
