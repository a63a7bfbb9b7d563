//! A checker of RFC 6455 and RFC 7692 by raw sockets against `rtgw serve`: every case is named, nobody else may suffer.
//!
//! `cargo test -p rtgw --test rfc6455 [-- PART-OF-A-NAME…]` runs all cases, or those whose name has one of the parts.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout)]

mod client;
mod handshakes;
mod hostile;
mod inflate;
mod memory;
mod offers;
mod patience;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod witness;

use std::net::SocketAddr;
use std::process::ExitCode;

use client::{Client, Failed, masked};
use support::gateway::Gateway;
use witness::Witness;

/// A name and what is done.
type Case = (String, Box<dyn Fn() -> Result<(), Failed> + Send>);

/// A client and what it needs: the server's address and its process.
type Hostile = fn(SocketAddr, u32) -> Result<(), Failed>;

/// A client that only needs the server's address.
type Patient = fn(SocketAddr) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    inflate::prove();
    if arguments.iter().any(|argument| argument == "--list") {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        cases(nowhere, nowhere, 0).iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let parts: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let gateway = Gateway::serve("gateway/server/tests/rfc6455/gateway.yaml", &["--shards", "2"]);
    let mut cases = cases(gateway.public, gateway.admin, gateway.process.id());
    cases.retain(|(name, _)| parts.is_empty() || parts.iter().any(|part| name.contains(*part)));
    let witness = Witness::start(gateway.public, gateway.admin);
    let mut failed = 0;
    let mut report = |name: &str, outcome: Result<(), Failed>| match outcome {
        Ok(()) => println!("ok      {name}"),
        Err(error) => {
            failed += 1;
            println!("FAILED  {name}\n        {error}");
        }
    };
    // Those that wait do so together, beside the others.
    let (patient, quick): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|(name, _)| name.starts_with("patience:"));
    let count = patient.len() + quick.len() + 1;
    let waiting: Vec<_> = patient.into_iter().map(|(name, run)| (name, std::thread::spawn(run))).collect();
    for (name, run) in quick {
        report(&name, run());
    }
    for (name, thread) in waiting {
        report(&name, thread.join().unwrap_or_else(|_| Err("panicked".to_owned())));
    }
    match witness.end() {
        Ok(heard) => report(
            &format!("every subscriber beside all this heard {heard} of {heard} publications in order"),
            Ok(()),
        ),
        Err(error) => report("every subscriber beside all this hears every publication in order", Err(error)),
    }
    println!("{} passed, {failed} failed", count - failed);
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("the server said: {}", gateway.process.stderr());
    ExitCode::FAILURE
}

/// Conversations, by file.
const SCRIPTS: [(&str, &str); 7] = [
    ("frames", include_str!("frames.txt")),
    ("text", include_str!("text.txt")),
    ("json", include_str!("json.txt")),
    ("msgpack", include_str!("msgpack.txt")),
    ("batch", include_str!("batch.txt")),
    ("close", include_str!("close.txt")),
    ("deflate", include_str!("deflate.txt")),
];

fn cases(server: SocketAddr, admin: SocketAddr, process: u32) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: String, run: Box<dyn Fn() -> Result<(), Failed> + Send>| cases.push((name, run));
    for (file, text) in SCRIPTS {
        for case in script::parse(file, text) {
            add(case.name.clone(), Box::new(move || case.run(server)));
        }
    }
    for (code, answer) in closes(include_str!("closes.txt")) {
        for path in ["/json", "/echo"] {
            add(format!("closes: {code} on {path}"), Box::new(move || close(server, path, code, answer)));
        }
    }
    for offer in offers::parse(include_str!("offers.txt")) {
        add(offer.name.clone(), Box::new(move || offer.run(server)));
    }
    for handshake in handshakes::parse(include_str!("handshakes.txt")) {
        add(handshake.name.clone(), Box::new(move || handshake.run(server)));
    }
    add(
        "memory: bombs are refused and not held".to_owned(),
        Box::new(move || memory::bombs(server, process)),
    );
    add(
        "memory: announced messages cost nothing".to_owned(),
        Box::new(move || memory::promises(server, process)),
    );
    let hostile: [(&str, Hostile); 7] = [
        ("echoes that nobody takes", hostile::echoes_unread),
        ("pongs that nobody takes", hostile::pings_unread),
        ("answers that nobody takes", hostile::answers_unread),
        ("200,000 empty fragments", |server, _| hostile::empty_fragments(server)),
        ("noise behind the handshake", |server, _| hostile::noise(server)),
        ("resets at every stage", |server, _| hostile::resets(server)),
        ("a thousand at once", |server, _| hostile::crowd(server)),
    ];
    for (name, run) in hostile {
        add(format!("hostile: {name}"), Box::new(move || run(server, process)));
    }
    let name = "hostile: a subscriber that does not read";
    add(name.to_owned(), Box::new(move || hostile::subscriber_unread(server, admin)));
    let patient: [(&str, Patient); 7] = [
        ("a silent connection", patience::silent),
        ("half a request", patience::half),
        ("a request byte by byte", patience::dripping),
        ("silence after an answer", patience::kept_alive),
        ("pings that are not answered", patience::pings_unanswered),
        ("pings that are answered", patience::pings_answered),
        ("nothing but pongs", patience::idle),
    ];
    for (name, run) in patient {
        add(format!("patience: {name}"), Box::new(move || run(server)));
    }
    cases
}

/// Lines of a code and its answer.
fn closes(text: &str) -> Vec<(u16, u16)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let numbers =
        |line: &str| line.split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<u16>>();
    lines.map(numbers).map(|pair| (pair[0], pair[1])).collect()
}

fn close(server: SocketAddr, path: &str, code: u16, answer: u16) -> Result<(), Failed> {
    let mut client = Client::open(server, path, None, b"")?;
    client.send(&masked(0x88, &[&code.to_be_bytes()[..], b"a reason"].concat()));
    client.closed(Some(answer))
}
