//! What befalls gateways: killed, stopped, with a clock that jumps.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;

use crate::rig::{Broker, Rig};
use crate::scenario::{Clock, Expected, PLAIN, Scenario};

/// Clients look for another pod within this, however unlucky their delays.
const FOUND_ELSEWHERE: Duration = Duration::from_secs(4);
const HOUR: i64 = 3600;

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one gateway of two, killed",
        strike: |rig| Box::pin(killed(rig)),
        says: Expected::Silent(1),
        resumes_within: FOUND_ELSEWHERE,
        loses: &[1],
        ..PLAIN
    },
    Scenario {
        name: "one gateway of two, stopped for 6 s",
        strike: |rig| Box::pin(stopped(rig)),
        says: Expected::Silent(1),
        loses: &[1],
        ..PLAIN
    },
    Scenario {
        name: "one gateway's wall clock jumps",
        clock: Clock::Pod,
        strike: |rig| Box::pin(jumped(rig)),
        says: Expected::Well,
        ..PLAIN
    },
    Scenario {
        name: "a gateway alone, killed",
        broker: Broker::Memory,
        keeps: false,
        strike: |rig| Box::pin(killed_alone(rig)),
        says: Expected::Silent(0),
        resumes_within: FOUND_ELSEWHERE,
        loses: &[0],
        ..PLAIN
    },
];

/// Its clients have to find the other one; it comes back later, as a new process does in a cluster.
async fn killed(rig: &mut Rig) {
    rig.strike().await;
    rig.pods[1].kill();
    rig.usable();
    rig.resumed(rig.usable, "").await;
    rig.pass(Duration::from_secs(1)).await;
    rig.pods[1].start();
    rig.pods[1].until_ready();
}

async fn killed_alone(rig: &mut Rig) {
    rig.strike().await;
    rig.pods[0].kill();
    rig.pass(Duration::from_millis(500)).await;
    rig.pods[0].start();
    rig.pods[0].until_ready();
    rig.usable();
}

/// Some of its clients leave it, others wait; nobody may believe that nothing happened.
async fn stopped(rig: &mut Rig) {
    rig.strike().await;
    rig.pods[1].signal("STOP");
    rig.pass(Duration::from_secs(6)).await;
    rig.pods[1].signal("CONT");
    rig.usable();
}

/// An hour ahead, then two back: behind the other pod and behind Redis.
async fn jumped(rig: &mut Rig) {
    rig.strike().await;
    for hours in [1, -1] {
        rig.clock.as_ref().expect("the scenario has a clock").set(hours * HOUR);
        let ahead = greeted_at(rig.pods[1].public).await - jiff::Timestamp::now().as_second();
        assert!((ahead - hours * HOUR).abs() < 60, "the pod's clock is {ahead} s ahead");
        rig.pass(Duration::from_secs(2)).await;
    }
    rig.usable();
}

/// Seconds since 1970, as a pod tells its clients.
async fn greeted_at(pod: SocketAddr) -> i64 {
    let (mut stream, _) = tokio_tungstenite::connect_async(format!("ws://{pod}/ws")).await.unwrap();
    let greeting = stream.next().await.unwrap().unwrap().into_text().unwrap();
    let greeting: serde_json::Value = serde_json::from_str(greeting.as_str()).unwrap();
    greeting["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}
