//! `Sec-WebSocket-Protocol`: our subprotocols, and the credential that browsers can put nowhere else.

/// JSON objects in text frames.
pub const JSON: &str = "rtgw.json.v1";

/// The same objects as MessagePack in binary frames.
pub const MSGPACK: &str = "rtgw.msgpack.v1";

/// The words that announce a token as the next offered "subprotocol".
const CREDENTIAL_WORDS: [&str; 3] = ["bearer", "authorization", "access_token"];

/// The subprotocol to answer with: the first offered one of `supported`; otherwise the first word of a credential pair, because
/// a browser fails a connection whose offers go unanswered. Never the token.
pub fn choose<'a>(
    values: impl Iterator<Item = &'a [u8]> + Clone,
    supported: &[&'static str],
) -> Option<&'static str> {
    let chosen =
        offers(values.clone()).find_map(|offer| supported.iter().find(|ours| **ours == offer).copied());
    chosen.or_else(|| Pairs(offers(values)).next().map(|(word, _)| word))
}

/// Whether a client that offers this reads close codes, as those do that are written for this server.
pub fn reads_close_codes(chosen: Option<&str>) -> bool {
    chosen.is_some_and(|chosen| chosen.starts_with("rtgw."))
}

/// The tokens of all credential pairs; more than one is a client's mistake.
pub fn credentials<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a str> {
    Pairs(offers(values)).map(|(_, token)| token)
}

/// Credential pairs among offers: a word, then the offer behind it, whatever that looks like.
struct Pairs<I>(I);

impl<'a, I: Iterator<Item = &'a str>> Iterator for Pairs<I> {
    type Item = (&'static str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let word = self.0.find_map(|offer| CREDENTIAL_WORDS.into_iter().find(|word| *word == offer))?;
        self.0.next().map(|token| (word, token))
    }
}

fn offers<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a str> {
    values
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim_ascii)
        .filter(|offer| !offer.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(values: &[&'static str]) -> (Option<&'static str>, Option<&'static str>) {
        let values = values.iter().map(|value| value.as_bytes());
        (choose(values.clone(), &[JSON]), credentials(values).next())
    }

    #[test]
    fn ours_first_then_the_word_never_the_token() {
        assert_eq!(both(&[]), (None, None));
        assert_eq!(both(&["chat, rtgw.json.v1"]), (Some(JSON), None));
        assert_eq!(both(&["bearer, eyJ.a.b"]), (Some("bearer"), Some("eyJ.a.b")));
        assert_eq!(both(&["access_token", "t"]), (Some("access_token"), Some("t")));
        assert_eq!(both(&["authorization,t,rtgw.json.v1"]), (Some(JSON), Some("t")));
        assert_eq!(both(&["rtgw.msgpack.v1"]), (None, None));
        assert_eq!(both(&["x, bearer"]), (None, None));
        // A token may look like anything.
        assert_eq!(both(&["bearer, bearer"]), (Some("bearer"), Some("bearer")));
        let two = [&b"bearer, bearer, access_token"[..], b"b, authorization"];
        assert_eq!(credentials(two.into_iter()).collect::<Vec<_>>(), ["bearer", "b"]);
    }
}
