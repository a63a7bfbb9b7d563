//! Who hears a channel, as two pods on one Redis know it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod presence_support;
mod support;

use std::time::{Duration, Instant};

use presence_support::{ask, connect, connect_as, enter, gateway, hear, members, subscribe};
use serde_json::json;
use support::eventually;
use support::gateway::Gateway;
use support::http::get;
use support::redis::Redis;

fn pods(redis: &Redis) -> [Gateway; 2] {
    let url = redis.url();
    [gateway(&["--redis", &url]), gateway(&["--redis", &url])]
}

/// Waits until the pod counts so many connections and users.
#[track_caller]
fn counts(pod: &Gateway, channel: &str, clients: u64, users: u64) {
    eventually(&format!("{clients} connections of {users} users"), || {
        let page = get(pod.admin, &format!("/v1/presence/{channel}?limit=0"));
        (page.status == 200 && page.json()["clients"] == clients && page.json()["users"] == users)
            .then_some(())
    });
}

#[tokio::test]
async fn pods_know_and_tell_each_others_members() {
    let redis = Redis::start();
    let [here, there] = pods(&redis);
    let (mut ann, ann_id) = connect(&here, "ann").await;
    enter(&mut ann, "room:7", "ann").await;
    let (mut bob, bob_id) = connect(&there, "bob").await;
    enter(&mut bob, "room:7", "bob").await;
    let told = hear(&mut ann, "join", "bob").await;
    let member = json!({"connection_id": bob_id, "user": "bob", "info": {"name": "bob", "room": "7"}});
    assert_eq!(told["member"], member);
    // Ann on the other pod, too: counted once, told to nobody.
    let (mut again, again_id) = connect(&there, "ann").await;
    subscribe(&mut again, "room:7", false).await;
    counts(&here, "room:7", 3, 2);
    let mut expected = vec![ann_id, bob_id, again_id];
    expected.sort();
    for pod in [&here, &there] {
        assert_eq!(members(pod, "room:7", 2), expected);
    }
    let answer = ask(&mut ann, json!({"channel": "room:7"})).await;
    assert_eq!((&answer["data"]["clients"], &answer["data"]["users"]), (&json!(3), &json!(2)));
    drop(ann);
    counts(&there, "room:7", 2, 2);
    drop(again);
    assert_eq!(hear(&mut bob, "leave", "ann").await["member"]["user"], "ann");
    counts(&here, "room:7", 1, 1);
}

#[tokio::test]
async fn a_pod_that_is_killed_takes_its_members_with_it_within_its_lease() {
    let redis = Redis::start();
    let [here, there] = pods(&redis);
    let (mut ann, _) = connect(&here, "ann").await;
    enter(&mut ann, "room:7", "ann").await;
    let mut gone = Vec::new();
    for user in ["ann", "bob", "eve"] {
        let (mut socket, _) = connect(&there, user).await;
        subscribe(&mut socket, "room:7", false).await;
        gone.push(socket);
    }
    let mut came: Vec<String> = Vec::new();
    for _ in 0..2 {
        came.push(ann.json_of_type("join").await["data"]["member"]["user"].as_str().unwrap().to_owned());
    }
    counts(&here, "room:7", 4, 3);
    drop(there);
    let begun = Instant::now();
    let mut went: Vec<String> = Vec::new();
    for _ in 0..2 {
        went.push(ann.json_of_type("leave").await["data"]["member"]["user"].as_str().unwrap().to_owned());
    }
    // The lease, a renewal that finds out, and a slow machine.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    went.sort();
    came.sort();
    assert_eq!((went.as_slice(), came), (&["bob".to_owned(), "eve".to_owned()][..], went.clone()));
    counts(&here, "room:7", 1, 1);
}

#[tokio::test]
async fn a_redis_that_is_away_closes_nobody_and_is_told_everything_again() {
    let mut redis = Redis::start();
    let [here, there] = pods(&redis);
    let (mut ann, _) = connect(&here, "ann").await;
    subscribe(&mut ann, "room:7", false).await;
    let (mut bob, _) = connect_as(&there, None).await;
    subscribe(&mut bob, "room:7", false).await;
    counts(&here, "room:7", 2, 1);
    redis.kill();
    let refused = eventually("presence is away", || {
        let answer = get(here.admin, "/v1/presence/room:7");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.json()["error"]["code"], "not_available");
    let answer = ask(&mut ann, json!({"channel": "room:7"})).await;
    assert_eq!(
        (&answer["data"]["code"], &answer["data"]["temporary"]),
        (&json!("not_available"), &json!(true))
    );
    // Empty when it comes back.
    redis.restart();
    counts(&there, "room:7", 2, 1);
    ann.send(&json!({"type": "ping"})).await;
    assert_eq!(ann.json_of_type("pong").await["type"], "pong");
    bob.send(&json!({"type": "ping"})).await;
    assert_eq!(bob.json_of_type("pong").await["type"], "pong");
}

#[tokio::test]
async fn who_watches_is_told_that_news_were_not_heard_and_nobody_else_is() {
    let redis = Redis::start();
    let [here, there] = pods(&redis);
    let (mut ann, _) = connect(&here, "ann").await;
    enter(&mut ann, "room:7", "ann").await;
    let (mut bob, _) = connect(&here, "bob").await;
    subscribe(&mut bob, "room:7", false).await;
    hear(&mut ann, "join", "bob").await;
    // Those that hear one topic: presence and orders between pods, but not the broker, which tells of itself.
    let listed = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let alone = listed.lines().filter(|line| line.contains(" sub=1 "));
    for line in alone {
        redis.cli(&["CLIENT", "KILL", "ID", line.split(['=', ' ']).nth(1).unwrap()]);
    }
    let told = ann.json().await;
    assert_eq!(told["type"], "gap", "{told}");
    assert_eq!(told["data"], json!({"channel": "room:7", "reason": "broker_reconnected"}));
    assert_eq!(ask(&mut ann, json!({"channel": "room:7"})).await["data"]["clients"], 2);
    assert!(here.metric("rtgw_gaps_total", "broker_reconnected") > 0.5);
    // From then on everything is heard again.
    let (mut eve, _) = connect(&there, "eve").await;
    subscribe(&mut eve, "room:7", false).await;
    hear(&mut ann, "join", "eve").await;
    bob.send(&json!({"type": "ping"})).await;
    assert_eq!(bob.json().await["type"], "pong");
}
