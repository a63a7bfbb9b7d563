//! Where tokens may stand, and what a place asks of the rest.

use super::Check;
use crate::checked::{EndpointAuth, Origins, TokenPlace};
use crate::defaults;
use crate::problem::Problem;
use crate::raw;
use crate::suggest;

/// As a manifest shows them.
const PLACES: [&str; 6] = ["Header", "Query", "Subprotocol", "ApiKeyHeader", "Cookie:NAME", "FirstMessage"];
/// Longest name of a cookie in bytes.
const COOKIE_BYTES: usize = 64;

impl Check<'_> {
    /// The places of the list at `path`, each once; the usual ones where it is absent.
    pub(super) fn token_places(&mut self, path: &str, places: Option<&[raw::TokenPlace]>) -> Vec<TokenPlace> {
        let Some(places) = places else {
            return defaults::TOKEN_FROM.into_iter().filter_map(place).collect();
        };
        let mut checked = Vec::new();
        for (at, written) in places.iter().enumerate() {
            match place(&written.0) {
                Some(place) if checked.contains(&place) => {}
                Some(place) => checked.push(place),
                None => self.problems.add(wrong_place(format!("{path}[{at}]"), &written.0)),
            }
        }
        checked
    }

    /// What the places of an endpoint, written at `path`, ask of its origins and of anonymous clients.
    pub(super) fn agree_on_places(&mut self, path: &str, auth: &EndpointAuth) {
        let why = match &auth.allowed_origins {
            Origins::SameHost => Some("a cookie counts only for pages of listed origins, and none is listed"),
            Origins::Any => {
                Some("a cookie with `*` in allowedOrigins would let every page act for its visitors")
            }
            Origins::Listed(listed) if listed.iter().any(|origin| origin == "null") => Some(
                "a cookie with `null` in allowedOrigins would let every page act for its visitors, from a sandboxed frame",
            ),
            Origins::Listed(_) => None,
        };
        let cookie = |place: &TokenPlace| matches!(place, TokenPlace::Cookie(_));
        if let Some(why) = why.filter(|_| auth.token_from.iter().any(cookie)) {
            let hint =
                "list the application's origins in allowedOrigins, for example https://app.example.com";
            self.problems.add(Problem::error(path, why).hint(hint));
        }
        if auth.anonymous && auth.token_from.contains(&TokenPlace::FirstMessage) {
            let message = "has FirstMessage beside `anonymous: Allow`: a client without a token must send one, so nobody connects as nobody";
            self.problems.add(
                Problem::warning(path, message).hint("deny anonymous clients, or take FirstMessage out"),
            );
        }
    }
}

fn place(text: &str) -> Option<TokenPlace> {
    match text {
        "Header" => Some(TokenPlace::Header),
        "Query" => Some(TokenPlace::Query),
        "Subprotocol" => Some(TokenPlace::Subprotocol),
        "ApiKeyHeader" => Some(TokenPlace::ApiKeyHeader),
        "FirstMessage" => Some(TokenPlace::FirstMessage),
        other => {
            let name = other.strip_prefix("Cookie:")?;
            is_cookie_name(name).then(|| TokenPlace::Cookie(name.to_owned()))
        }
    }
}

/// A token of RFC 9110, section 5.6.2, as RFC 6265 has it for the names of cookies.
fn is_cookie_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
    (1..=COOKIE_BYTES).contains(&text.len()) && text.bytes().all(known)
}

fn wrong_place(path: String, text: &str) -> Problem {
    let shown: String = text.chars().take(40).collect();
    let problem = Problem::error(path, format!("`{shown}` is not one of its values"));
    let (word, name) = text.split_once(':').unwrap_or((text, ""));
    if word == "Cookie" && !name.is_empty() {
        return problem
            .hint("the name of a cookie has letters, digits and !#$%&'*+.^_`|~- in it, at most 64");
    }
    let known = if word.eq_ignore_ascii_case("cookie") { "Cookie:NAME" } else { text };
    problem.hint(suggest::one_of(known, &PLACES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::token_place::TOKEN_PLACE_PATTERN;

    #[test]
    fn the_pattern_of_the_schema_says_the_same() {
        let pattern = regex::Regex::new(TOKEN_PLACE_PATTERN).ok();
        let long = format!("Cookie:{}", "x".repeat(65));
        for text in PLACES.into_iter().chain(defaults::TOKEN_FROM).chain([
            "Cookie:__Host-session",
            "Cookie:a`b",
            "Cookie:",
            "Cookie",
            "Cookie:a b",
            "Cookie:a=b",
            "Cookie:a;b",
            "Cookie:é",
            "header",
            "",
            "Header ",
            &long,
            &long[..71],
        ]) {
            assert_eq!(
                pattern.as_ref().map(|pattern| pattern.is_match(text)),
                Some(place(text).is_some()),
                "{text}"
            );
        }
    }
}
