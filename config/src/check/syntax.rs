//! Spelling of names, paths, origins and addresses.

/// A DNS label, which is also a safe value of a metric's label.
pub(super) fn label(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inside = text.bytes().all(|byte| plain(byte) || byte == b'-');
    let edges = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    if inside && edges && text.len() <= 63 { Ok(()) } else { Err("is not a name".into()) }
}

/// A name that clients and expressions can write without quotes.
pub(super) fn word(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A name of a command, as clients send it and metrics label it.
pub(super) fn command(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    first && text.len() <= 63 && text.bytes().all(known)
}

/// A path as it stands in a request line (RFC 3986, section 3.3), compared byte by byte.
pub(super) fn path(text: &str) -> Result<(), &'static str> {
    if !text.starts_with('/') {
        return Err("must begin with \"/\"");
    }
    if text.contains(['?', '#']) {
        return Err("must be a path alone, without `?` or `#`");
    }
    if text.contains("//") {
        return Err("has an empty segment (`//`)");
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("has a `.` or `..` segment, which clients remove before they ask");
    }
    if text.contains(['{', '}', '*']) {
        return Err("is compared as it stands: placeholders are not known here");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@%".contains(&byte);
    if text.bytes().all(plain) {
        Ok(())
    } else {
        Err("has a character that must be percent-encoded in a path")
    }
}

/// An origin as browsers serialize it (RFC 6454, section 6.2).
pub(super) fn origin(text: &str) -> Result<(), &'static str> {
    if text == "null" {
        return Ok(());
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return Err("is not an origin: a scheme and `://` come first");
    };
    let name = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
    };
    if scheme.is_empty() || !name(scheme) {
        return Err("has a scheme that no browser sends");
    }
    if host.contains(['/', '?', '#']) {
        return Err("has a path: an origin ends after the host and port");
    }
    if host.contains('*') {
        return Err("has a wildcard: list the origins, or `*` alone for any");
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("has capital letters, which browsers send as small ones");
    }
    if (scheme == "https" && host.ends_with(":443")) || (scheme == "http" && host.ends_with(":80")) {
        return Err("names the usual port, which browsers leave out");
    }
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(known) {
        Err("has no host that a browser would send")
    } else {
        Ok(())
    }
}

/// Why an address of a Redis is refused.
pub(super) enum AddressError {
    /// With what to do about it.
    Wrong(&'static str, &'static str),
    /// A scheme of the design that is not built.
    Unbuilt,
}

/// Whether an address of a Redis asks for TLS.
pub(super) fn redis_tls(text: &str) -> bool {
    ["rediss://", "valkeys://"].iter().any(|scheme| text.starts_with(scheme))
}

/// `redis://[USER@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS; Valkey's own schemes mean the same.
pub(super) fn redis_url(text: &str) -> Result<(), AddressError> {
    const FORM: &str = "redis://HOST:PORT/DATABASE, for example redis://cache:6379/0";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(AddressError::Wrong("is not an address", FORM));
    };
    match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => {}
        "redis+sentinel" | "redis+cluster" => return Err(AddressError::Unbuilt),
        _ => return Err(AddressError::Wrong("does not begin with redis://", FORM)),
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        let hint = "put it into a Secret and name that in passwordRef: manifests are shown to many eyes";
        return Err(AddressError::Wrong("has a password in it", hint));
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(AddressError::Wrong("does not end with the number of a database", FORM));
    }
    let (name, port) = match host.rsplit_once(':') {
        // The last colon of `[::1]` belongs to the address.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port == "0") {
        return Err(AddressError::Wrong("has a port that is not a number from 1 to 65535", FORM));
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if name.is_empty() || !name.bytes().all(known) {
        return Err(AddressError::Wrong("has no host", FORM));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_request_paths() {
        for good in ["/", "/ws", "/socket.io/", "/a/b-c/%C3%A9", "/ws/~x"] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in ["", "ws", "/ws?x", "/ws#x", "/a//b", "/../a", "/ws/{id}", "/é", "/a b", "/a*"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "null",
            "http://[::1]:8080",
            "capacitor://localhost",
        ] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "app.example.com",
            "https://app.example.com/",
            "https://*.example.com",
            "https://App.example.com",
            "://x",
            "https://x:443",
            "http://x:80",
            "https://",
            "https://a b",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_hold_no_password() {
        for good in [
            "redis://cache",
            "redis://cache:6379/0",
            "redis://app@cache:6379",
            "redis://[::1]:6379",
            "redis://[::1]",
            "rediss://app@cache:6380/2",
            "valkeys://cache",
        ] {
            assert!(redis_url(good).is_ok(), "{good}");
        }
        for bad in [
            "cache:6379",
            "http://cache",
            "redis://",
            "redis://:pw@cache",
            "redis://u:p@cache",
            "redis://cache:0",
            "redis://cache:x",
            "redis://cache/x",
            "redis://a b",
        ] {
            assert!(matches!(redis_url(bad), Err(AddressError::Wrong(..))), "{bad}");
        }
        assert!(matches!(redis_url("redis+sentinel://cache"), Err(AddressError::Unbuilt)));
    }
}
