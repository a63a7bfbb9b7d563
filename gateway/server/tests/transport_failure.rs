//! A shard that fails takes the process with it, loudly.
#![allow(clippy::unwrap_used, clippy::panic)]

mod transport_support;

use std::process::Command;
use std::sync::Arc;

use rtgw::transport::{Outward, Settings, start};
use rtgw_hub::Ask;
use rtgw_model::{ChannelName, RuleIx};
use rtgw_protocol::wires::Wires;

/// Set for the process that is meant to fail.
const CHILD: &str = "RTGW_TEST_FAILING_SHARD";

struct Broken;

impl Outward for Broken {
    fn ask(&self, _: Ask) {}

    fn want(&self, _: u16, _: ChannelName, _: RuleIx) {
        panic!("the bottom fell out");
    }

    fn unwant(&self, _: u16, _: ChannelName) {}
}

#[test]
fn the_process_ends_with_its_shard() {
    if std::env::var_os(CHILD).is_some() {
        return fail();
    }
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args(["--exact", "the_process_ends_with_its_shard", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&child.stdout).contains("test result"), "the test runner went on");
    let log = [child.stdout, child.stderr].concat();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("an I/O shard failed") && log.contains("the bottom fell out"), "{log}");
}

fn fail() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut settings = Settings::new(1, 1, 0);
    settings.shards = 1;
    let memory = Arc::new(rtgw_hub::Account::new(1, None));
    let transport =
        start(settings, Arc::new(Wires::new()), Arc::new(Broken), Arc::default(), memory).unwrap();
    let rig = transport_support::Rig::around(transport);
    let _client = rig.socket(&transport_support::Door::hears("jobs"));
    std::thread::sleep(transport_support::PATIENCE);
}
