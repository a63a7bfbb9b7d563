//! Vectors of the opening handshake and of the negotiation of compression.

use rtgw_protocol::websocket::{
    deflate::Window,
    extension::negotiate,
    handshake::{Headers, Supported, accept},
    subprotocol,
};

const HANDSHAKES: &str = include_str!("../vectors/websocket/handshakes.txt");
const EXTENSIONS: &str = include_str!("../vectors/websocket/extensions.txt");

/// RFC 6455 section 1.2.
const GOOD: [(&str, &str); 5] = [
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

type Fields<'a> = Vec<(&'a str, &'a str)>;

struct Request<'a>(Fields<'a>);

impl Headers for Request<'_> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.0
            .iter()
            .filter(move |(field, value)| *field == name && !value.is_empty())
            .map(|(_, value)| value.as_bytes())
    }
}

#[derive(Default)]
struct Vector<'a> {
    name: &'a str,
    start: &'a str,
    fields: Fields<'a>,
    answer: Vec<&'a str>,
}

fn check(vector: &Vector<'_>) {
    let Vector { name, start, fields, answer } = vector;
    let good = GOOD.into_iter().filter(|(field, _)| fields.iter().all(|(given, _)| given != field));
    let request = Request(fields.iter().copied().chain(good).collect());
    let (method, version) = start.split_once(' ').unwrap_or(("GET", "1.1"));
    let (major, minor) = version.split_once('.').unwrap();
    let http = (major.parse().unwrap(), minor.parse().unwrap());
    let supported = Supported { subprotocols: &[subprotocol::JSON], deflate: true };
    let (status, headers) = match accept(method, http, &request, supported) {
        Ok(accepted) => (101, accepted.headers().map(|(name, value)| format!("{name}: {value}")).collect()),
        Err(refusal) => {
            let headers = refusal.headers().iter().map(|(name, value)| format!("{name}: {value}"));
            (refusal.status(), headers.collect::<Vec<_>>())
        }
    };
    if matches!(status, 101 | 426) {
        assert!(headers.iter().any(|line| line == "connection: Upgrade"), "{name}");
        assert!(headers.iter().any(|line| line == "upgrade: websocket"), "{name}");
    }
    let mut found = vec![status.to_string()];
    found.extend(
        headers.into_iter().filter(|line| !line.starts_with("connection:") && !line.starts_with("upgrade:")),
    );
    assert_eq!(&found, answer, "{name}");
}

#[test]
fn handshakes() {
    let mut vectors: Vec<Vector<'_>> = Vec::new();
    for line in HANDSHAKES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            vectors.push(Vector { name, ..Vector::default() });
            continue;
        }
        let vector = vectors.last_mut().unwrap();
        match (line.split_at(2), line[2..].split_once(':')) {
            (("> ", _), Some((name, value))) => vector.fields.push((name, value.trim())),
            (("> ", start), None) => vector.start = start,
            (("< ", answer), _) => vector.answer.push(answer),
            _ => panic!("{line}"),
        }
    }
    assert!(vectors.len() > 25, "the file is read");
    vectors.iter().for_each(check);
}

#[test]
fn extensions() {
    let lines: Vec<&str> =
        EXTENSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines.len() > 30, "the file is read");
    for line in lines {
        let (expected, values) = line.split_once(' ').unwrap_or((line, ""));
        let answer = negotiate(values.split(" | ").map(|value| value.trim().as_bytes()));
        let found = match answer {
            None => "none",
            Some(answer) => {
                let bits = answer.window.bits();
                let said = answer.header.split_once("; server_max_window_bits=").map(|(_, said)| said);
                assert!(said.is_none_or(|said| said == bits.to_string()), "{line}");
                let takeover = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
                assert!(answer.header.starts_with(takeover), "{line}");
                said.unwrap_or("any")
            }
        };
        assert_eq!(found, expected, "{line}");
    }
    assert_eq!(negotiate([b"\xFF".as_slice()].into_iter()), None);
    assert_eq!(negotiate([b"permessage-deflate".as_slice()].into_iter()).unwrap().window, Window::Bits12);
}
