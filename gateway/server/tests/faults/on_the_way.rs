//! What befalls the way between the pods and Redis: slow, cut, held, half open.

use std::time::Duration;

use crate::proxy::Way;
use crate::rig::Rig;
use crate::scenario::{Expected, PLAIN, Scenario};

const OUTAGE: Duration = Duration::from_secs(5);
/// A connection that is dead without a word is found out by a probe that does not come back.
const FOUND_OUT: Duration = Duration::from_secs(10);

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "slow", strike: |rig| Box::pin(slow(rig)), ..PLAIN },
    Scenario {
        name: "all pods cut off",
        strike: |rig| Box::pin(closed(rig, &[0, 1], Way::Held)),
        says: Expected::Without(&[0, 1]),
        ..PLAIN
    },
    Scenario {
        name: "one pod of two cut off",
        strike: |rig| Box::pin(closed(rig, &[1], Way::Held)),
        says: Expected::Without(&[1]),
        ..PLAIN
    },
    Scenario {
        name: "one pod of two refused",
        strike: |rig| Box::pin(closed(rig, &[1], Way::Refused)),
        says: Expected::Without(&[1]),
        ..PLAIN
    },
    Scenario {
        name: "one pod of two hears no answer",
        strike: |rig| Box::pin(closed(rig, &[1], Way::Deaf)),
        says: Expected::Without(&[1]),
        ..PLAIN
    },
    Scenario {
        name: "connections half open",
        strike: |rig| Box::pin(half_open(rig)),
        resumes_within: FOUND_OUT,
        ..PLAIN
    },
    Scenario { name: "connections reset, again and again", strike: |rig| Box::pin(reset(rig)), ..PLAIN },
];

async fn slow(rig: &mut Rig) {
    rig.strike().await;
    let way = Way::Slow { late: Duration::from_millis(100), bytes_per_second: 256 * 1024 };
    rig.ways().for_each(|proxy| proxy.set(way));
    rig.pass(OUTAGE).await;
    rig.ways().for_each(|proxy| proxy.set(Way::Open));
    rig.usable();
}

async fn closed(rig: &mut Rig, pods: &[usize], way: Way) {
    rig.strike().await;
    pods.iter().for_each(|pod| rig.way(*pod).set(way));
    rig.pass(OUTAGE).await;
    pods.iter().for_each(|pod| rig.way(*pod).set(Way::Open));
    rig.usable();
}

/// A firewall forgets the connections of all pods; new ones would be carried at once.
async fn half_open(rig: &mut Rig) {
    rig.strike().await;
    rig.ways().for_each(crate::proxy::Proxy::forget);
    rig.usable();
}

async fn reset(rig: &mut Rig) {
    rig.strike().await;
    for _ in 0..10 {
        rig.ways().for_each(crate::proxy::Proxy::cut);
        rig.pass(Duration::from_millis(300)).await;
    }
    rig.usable();
}
