//! Negotiation of compression as data, and that what was agreed is kept: by an inflater with exactly the agreed window.

use std::net::SocketAddr;

use super::client::{Client, Failed, Frame, masked, show};
use super::inflate::inflate;
use super::script::deflated;

/// An offer and what may be answered.
#[derive(Debug)]
pub struct Offer {
    pub name: String,
    fields: Vec<String>,
    /// The widest window in bits that the answer may allow the server; `None`: it must decline.
    window: Option<u8>,
}

/// Reads the table.
pub fn parse(text: &str) -> Vec<Offer> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (window, offer) = line.split_once(' ').unwrap();
            let fields = offer.split('|').map(|field| field.trim().to_owned()).collect();
            Offer { name: format!("offers: {}", offer.trim()), fields, window: window.parse().ok() }
        })
        .collect()
}

impl Offer {
    /// Negotiates, then sends a message that is worth compressing there and back.
    pub fn run(&self, server: SocketAddr) -> Result<(), Failed> {
        let offer = self.fields.join("\r\nSec-WebSocket-Extensions: ");
        let mut client = Client::open(server, "/echo", Some(&offer), b"")?;
        let (answer, window) = match (client.extensions(), self.window) {
            (None, None) => return client.fence(),
            (Some(answer), Some(window)) => (answer.to_owned(), window),
            (answer, _) => return Err(format!("answered with {answer:?}")),
        };
        let agreed = self.judge(&answer, window)?;
        let text = far_apart();
        client.send(&masked(0xC1, &deflated(&text)));
        let heard = client.next()?;
        if heard.first != 0xC1 {
            return Err(format!("not compressed: {}", show(&heard)));
        }
        let payload = inflate(&heard.payload, agreed)?;
        if payload != text {
            return Err(format!("came back as {}", show(&Frame { first: 0x81, payload })));
        }
        client.fence()
    }

    /// The window that the answer allows the server. RFC 7692 section 7.1: an answer has only parameters that are defined,
    /// once each, keeps the limit of the offer, and limits the client only where it said that it can be limited.
    fn judge(&self, answer: &str, window: u8) -> Result<u8, Failed> {
        let mut parts = answer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return Err(format!("answered with {answer}"));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut agreed = 15;
        for part in parts {
            let (name, value) =
                part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            let bits = value.map(|value| value.trim_matches('"').parse::<u8>().unwrap_or(0));
            match (name, bits) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
                ("server_max_window_bits", Some(bits @ 8..=15)) => agreed = bits,
                ("client_max_window_bits", Some(8..=15))
                    if self.fields.iter().any(|field| field.contains(name)) => {}
                _ => return Err(format!("answered with {answer}")),
            }
            if names.contains(&name) {
                return Err(format!("{name} twice in {answer}"));
            }
            names.push(name);
        }
        if agreed > window { Err(format!("a window of {agreed} bits in {answer}")) } else { Ok(agreed) }
    }
}

/// 60 KiB with repetitions at many distances, near ones and ones beyond every small window.
fn far_apart() -> Vec<u8> {
    let block = |number: usize| {
        (0..40)
            .flat_map(move |n| format!("{:x} ", (n * 7 + 3) * (number % 13 + 1) * 2_654_435_761).into_bytes())
    };
    (0..110).flat_map(block).collect()
}
