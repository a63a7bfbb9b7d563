//! MessagePack clients of another author: what they publish and hear is what JSON clients publish and hear.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use support::gateway::Gateway;
use support::process::{Process, python};
use support::root;

#[test]
fn values_of_every_kind_cross_between_the_wires_unchanged() {
    let gateway = Gateway::serve("gateway/server/tests/rfc6455/gateway.yaml", &[]);
    let mut clients: Vec<Process> = ["1", "2", "3"]
        .into_iter()
        .map(|seed| {
            let mut command = python();
            command.arg(root().join("gateway/server/tests/clients/msgpack_values.py"));
            command.args([gateway.url("/json").as_str(), seed, "300"]);
            // Each run hears only itself.
            let mut client = Process::start(&mut command);
            client.wait_for("values", |line| line == "300 values");
            client
        })
        .collect();
    for client in &mut clients {
        assert!(client.ended().success(), "{}", client.stderr());
    }
}
