//! A gateway that may hold few files open: it answers that it is full, and lives on when even the answer has no descriptor.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;
mod support;

use std::process::Command;

use http_support::Client;
use support::gateway::rtgw;
use support::process::Process;
use support::{eventually, free_port, http};

#[test]
fn running_out_of_files_is_answered_and_survived() {
    let (public, admin) = (free_port(), free_port());
    let manifest = support::root().join("examples/quickstart/gateway.yaml");
    let serve = format!(
        "ulimit -n 200; exec {} serve -f {} --listen 127.0.0.1:{public} --admin 127.0.0.1:{admin}",
        rtgw().get_program().display(),
        manifest.display()
    );
    let _process = Process::start(Command::new("bash").args(["-c", &serve]));
    let (public, admin) = (([127, 0, 0, 1], public).into(), ([127, 0, 0, 1], admin).into());
    eventually("the gateway is ready", || {
        http::try_get(admin, "/readyz").filter(|answer| answer.status == 200)
    });
    let mut held = Vec::new();
    let refused = loop {
        let mut client = Client::connect(public);
        let answer = client.shake("/ws", &[]).answer();
        if answer.status != 101 {
            break answer;
        }
        held.push(client);
        assert!(held.len() < 200);
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "full"));
    assert!(held.len() > 40, "{}", held.len());
    // The internal listener still has descriptors left.
    assert_eq!(http::get(admin, "/readyz").status, 200);
    held.truncate(held.len() - 1);
    eventually("a place comes back", || {
        let mut client = Client::connect(public);
        (client.shake("/ws", &[]).answer().status == 101).then_some(())
    });
}
