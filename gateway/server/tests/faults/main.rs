//! Redis and gateways are killed, frozen, cut off, emptied and deceived under traffic: nothing may be lost that nobody announces.
//!
//! `make faults` plays every scenario and prints a line for each; `cargo test` plays those that find most. What each line of
//! [docs/reliability.md](../../../../docs/reliability.md) promises is judged by the ledger, whose own tests are here too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout, unreachable_pub)]

mod client;
mod inlet;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod on_gateway;
mod on_redis;
mod on_the_way;
mod proxy;
mod publisher;
mod redis;
mod rig;
mod scenario;
#[path = "../support/mod.rs"]
mod support;
mod wall_clock;
mod watch;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rig::{Broker, Rig};
use scenario::{Clock, Outcome, Scenario, play};

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    on_redis::SCENARIOS.iter().chain(on_the_way::SCENARIOS).chain(on_gateway::SCENARIOS)
}

/// One at a time, whatever the number of test threads: how soon delivery resumes is a figure.
static STAGE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Plays the scenario of this name, which has to go well.
async fn goes_well(name: &str) {
    let _stage = STAGE.lock().await;
    let scenario =
        scenarios().find(|scenario| scenario.name == name).expect("there is a scenario of this name");
    let Outcome { line, failures } = play(scenario).await;
    println!("{line}");
    assert!(failures.is_empty(), "{line}\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_alone_is_killed() {
    goes_well("a gateway alone, killed").await;
}

#[test]
fn every_scenario_stands_in_the_documentation() {
    let text = std::fs::read_to_string(support::root().join("docs/reliability.md")).unwrap();
    let missing: Vec<&str> = scenarios()
        .map(|scenario| scenario.name)
        .filter(|name| !text.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/reliability.md says nothing of {missing:?}");
}

/// Each hears only half of what was accepted, and nobody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_know_nothing_of_each_other_are_found_out() {
    let _stage = STAGE.lock().await;
    let mut rig = Rig::set(Broker::Apart, Clock::Right).await;
    rig.settle(Duration::ZERO).await;
    let (sum, lines) = rig.judged("");
    assert!(sum.unexplained > sum.delivered / 4, "{sum:?}");
    assert!(lines.len() >= 12, "each of four steady clients on each of three channels: {lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_with_its_data() {
    goes_well("killed, back with its data").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pod_of_two_is_cut_off() {
    goes_well("one pod of two cut off").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_of_two_is_killed() {
    goes_well("one gateway of two, killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_to_another_redis() {
    goes_well("another Redis, in stages").await;
}

/// `FAULTS=WORD` plays those whose names have the word in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make faults`"]
async fn every_scenario() {
    let _stage = STAGE.lock().await;
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let begin = Instant::now();
    let (mut played, mut bad) = (0, Vec::new());
    for scenario in scenarios().filter(|scenario| scenario.name.contains(&wanted)) {
        played += 1;
        match AssertUnwindSafe(play(scenario)).catch_unwind().await {
            Ok(Outcome { line, failures }) => {
                println!("{line}");
                failures.iter().for_each(|failure| println!("    {failure}"));
                bad.extend((!failures.is_empty()).then_some(scenario.name));
            }
            Err(_) => bad.push(scenario.name),
        }
    }
    println!("{played} scenarios in {} s, {} failed", begin.elapsed().as_secs(), bad.len());
    assert!(played > 0, "no scenario is called {wanted}");
    assert!(bad.is_empty(), "{bad:?}");
}
