//! What befalls Redis itself: killed, frozen, full, read-only, emptied, put back in time, with a clock that jumps.

use std::time::Duration;

use crate::proxy::{Proxy, Way};
use crate::redis::{Disk, Redis};
use crate::rig::{Broker, Rig, external};
use crate::scenario::{Clock, Expected, PLAIN, Scenario};
use crate::support::eventually;

/// Long enough for several attempts in vain.
const OUTAGE: Duration = Duration::from_secs(3);
const BOTH: Expected = Expected::Without(&[0, 1]);
const HOUR: i64 = 3600;

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "killed, back with its data",
        strike: |rig| Box::pin(killed(rig, Disk::Log)),
        says: BOTH,
        ..PLAIN
    },
    Scenario {
        name: "killed, back empty",
        strike: |rig| Box::pin(killed_and_wiped(rig, OUTAGE)),
        says: BOTH,
        keeps: false,
        ..PLAIN
    },
    Scenario {
        name: "killed, back empty at once",
        strike: |rig| Box::pin(killed_and_wiped(rig, Duration::ZERO)),
        keeps: false,
        ..PLAIN
    },
    Scenario {
        name: "killed, back from an older snapshot",
        broker: Broker::Redis(Disk::Snapshot),
        strike: |rig| Box::pin(killed(rig, Disk::Snapshot)),
        says: BOTH,
        keeps: false,
        ..PLAIN
    },
    Scenario { name: "stopped for 6 s", strike: |rig| Box::pin(stopped(rig)), says: BOTH, ..PLAIN },
    Scenario { name: "full", strike: |rig| Box::pin(full(rig)), ..PLAIN },
    Scenario { name: "evicting", keeps: false, strike: |rig| Box::pin(evicting(rig)), ..PLAIN },
    Scenario { name: "read-only", strike: |rig| Box::pin(read_only(rig)), ..PLAIN },
    Scenario { name: "flushed", keeps: false, strike: |rig| Box::pin(flushed(rig)), ..PLAIN },
    Scenario {
        name: "its clock jumps past every TTL",
        clock: Clock::Redis,
        keeps: false,
        strike: |rig| Box::pin(jumped(rig)),
        ..PLAIN
    },
    Scenario {
        name: "a lagging replica promoted",
        keeps: false,
        strike: |rig| Box::pin(promoted(rig)),
        says: BOTH,
        ..PLAIN
    },
    Scenario {
        name: "another Redis, in stages",
        // Positions end once, and whoever is away or comes and goes then is told so.
        keeps: false,
        spares_who_stays: true,
        strike: |rig| Box::pin(changed(rig)),
        ..PLAIN
    },
];

async fn killed(rig: &mut Rig, disk: Disk) {
    if disk == Disk::Snapshot {
        rig.redis().save();
        // What the snapshot does not have.
        rig.pass(Duration::from_secs(1)).await;
    }
    rig.strike().await;
    rig.redis().kill();
    rig.pass(OUTAGE).await;
    rig.redis().run();
    rig.usable();
}

async fn killed_and_wiped(rig: &mut Rig, outage: Duration) {
    rig.strike().await;
    rig.redis().kill();
    rig.redis().wipe();
    rig.pass(outage).await;
    rig.redis().run();
    rig.usable();
}

async fn stopped(rig: &mut Rig) {
    rig.strike().await;
    rig.redis().freeze();
    rig.pass(Duration::from_secs(6)).await;
    rig.redis().thaw();
    rig.usable();
}

/// Writes fail with OOM; Pub/Sub goes on.
async fn full(rig: &mut Rig) {
    rig.redis().set("maxmemory-policy", "noeviction");
    rig.strike().await;
    rig.redis().set("maxmemory", "1");
    rig.pass(OUTAGE).await;
    rig.redis().set("maxmemory", "0");
    rig.usable();
}

/// Somebody else's keys push ours out, under traffic.
async fn evicting(rig: &mut Rig) {
    const FILL: &str = "for i = 1, 500 do redis.call('SET', 'junk:' .. ARGV[1] .. ':' .. i, string.rep('x', 500), 'PX', 20000) end";
    rig.strike().await;
    let redis = rig.redis();
    let limit = redis.used() + 2_000_000;
    redis.set("maxmemory-policy", "allkeys-lru");
    redis.set("maxmemory", &limit.to_string());
    for round in 0..120 {
        rig.redis().cli(&["EVAL", FILL, "0", &round.to_string()]);
        rig.pass(Duration::from_millis(20)).await;
    }
    let evicted = rig.redis().count("evicted_keys");
    assert!(evicted > 10_000, "only {evicted} keys were evicted");
    rig.redis().set("maxmemory", "0");
    rig.usable();
}

/// A replica of nobody refuses writes.
async fn read_only(rig: &mut Rig) {
    rig.strike().await;
    assert_eq!(rig.redis().cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    rig.pass(OUTAGE).await;
    assert_eq!(rig.redis().cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    rig.usable();
}

/// No connection breaks, nothing answers with an error.
async fn flushed(rig: &mut Rig) {
    rig.strike().await;
    for _ in 0..2 {
        assert_eq!(rig.redis().cli(&["FLUSHALL"]), "OK");
        rig.pass(Duration::from_secs(1)).await;
    }
    rig.usable();
}

/// Whatever was kept is past its TTL, and whatever was kept of what was kept.
async fn jumped(rig: &mut Rig) {
    rig.strike().await;
    rig.clock.as_ref().expect("the scenario has a clock").set(HOUR);
    let told = rig.redis().cli(&["TIME"]);
    let ahead = told.lines().next().unwrap().parse::<i64>().unwrap() - jiff::Timestamp::now().as_second();
    assert!((ahead - HOUR).abs() < 60, "the clock of Redis is {ahead} s ahead");
    rig.pass(Duration::from_secs(2)).await;
    rig.usable();
}

/// The replica has not heard of what was accepted last when its master dies; it counts on from where it stands.
async fn promoted(rig: &mut Rig) {
    let replica = Redis::start(Disk::Log, Vec::new());
    let between = Proxy::start(rig.redis().address()).await;
    replica.cli(&["REPLICAOF", "127.0.0.1", &between.address().port().to_string()]);
    eventually("the replica is in step", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    between.set(Way::Held);
    rig.pass(Duration::from_secs(1)).await;
    rig.strike().await;
    rig.redis().kill();
    rig.pass(OUTAGE).await;
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    rig.ways().chain(&rig.application).for_each(|way| way.repoint(replica.address()));
    rig.redis = Some(replica);
    rig.usable();
}

/// The pods take each stage one after the other; the application goes to the new Redis in between, and the old one ends.
async fn changed(rig: &mut Rig) {
    const SIDE_BY_SIDE: Duration = Duration::from_millis(800);
    let new = Redis::start(Disk::Log, Vec::new());
    let mut ways = Vec::new();
    for _ in &rig.pods {
        ways.push(Proxy::start(new.address()).await);
    }
    let places = |pod: usize, ways: &[Proxy]| (rig.way(pod).address(), ways[pod].address());
    let places: Vec<_> = (0..rig.pods.len()).map(|pod| places(pod, &ways)).collect();
    rig.strike().await;
    for write_to in ["Previous", "Current"] {
        for (pod, (old, new)) in rig.pods.iter().zip(&places) {
            pod.reconfigure(&format!(
                "{{external: {{url: 'redis://{new}'}}, previous: {{external: {{url: 'redis://{old}'}}}}, writeTo: {write_to}}}"
            ));
            rig.pass(SIDE_BY_SIDE).await;
        }
    }
    rig.application.iter().for_each(|way| way.repoint(new.address()));
    rig.pass(SIDE_BY_SIDE).await;
    for (pod, (_, new)) in rig.pods.iter().zip(&places) {
        pod.reconfigure(&external(*new));
        rig.pass(SIDE_BY_SIDE).await;
    }
    for (pod, way) in rig.pods.iter_mut().zip(ways) {
        pod.proxy = Some(way);
    }
    rig.redis = Some(new);
    rig.pass(SIDE_BY_SIDE).await;
    rig.usable();
}
