//! A shard under a deterministic simulation: virtual time, hostile sockets, late answers, thousands of seeds.
//!
//! Each seed is one world of a shard, some clients and a publisher. The world drives the shard as an I/O loop would and checks, from
//! the bytes that reached each client:
//! who is said to hear a channel does, order per channel, no silent loss, nothing twice, commands answered in order, budgets never exceeded.
//! A second kind of world has channels that are remembered, see [`past`].
//! `SIMULATION_SEED=n` replays one seed; `SIMULATION_SEEDS=n` chooses how many run.
#![allow(clippy::unwrap_used, clippy::panic)]

mod accounts;
mod client;
mod life;
mod lines;
mod past;
mod plan;
mod roll;
mod rules;
mod world;

use world::World;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(3_000),
    }
}

#[test]
fn no_seed_breaks_a_promise() {
    let mut delivered = 0;
    let (mut slow, mut joined, mut superseded, mut lost) = (0, 0, 0, 0);
    let (mut expired, mut taken, mut refreshed, mut arrivals) = (0, 0, 0, 0);
    let (mut holes, mut shed) = (0, 0);
    for seed in seeds() {
        let outcome = World::new(seed).run();
        delivered += outcome.delivered;
        slow += outcome.slow_consumers;
        joined += outcome.joined;
        superseded += outcome.superseded;
        lost += outcome.lost;
        expired += outcome.expired;
        taken += outcome.taken;
        refreshed += outcome.refreshed;
        arrivals += outcome.arrivals;
        holes += outcome.holes;
        shed += outcome.shed;
    }
    // A simulation in which nothing happens proves nothing.
    if seeds().count() >= 100 {
        assert!(delivered > 1_000, "only {delivered} deliveries");
        assert!(slow > 10, "only {slow} slow consumers");
        assert!(joined > 1_000, "only {joined} joined writes");
        assert!(superseded > 1_000, "only {superseded} publications superseded");
        assert!(holes > 100 && shed > 100, "{holes} holes told, {shed} shed");
        assert!(lost > 100, "only {lost} publications lost with their sockets");
        assert!(arrivals > 1_000, "only {arrivals} joins and leaves told");
        assert!(
            expired > 10 && taken > 100 && refreshed > 100,
            "{expired} expired, {taken} taken away, {refreshed} refreshed"
        );
    }
}
