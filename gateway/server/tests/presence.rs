//! Who hears a channel, as clients and programs learn it from one pod.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod presence_support;
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use presence_support::{ask, connect, connect_as, gateway, hear, members, subscribe};
use serde_json::{Value, json};
use support::eventually;
use support::http::get;
use support::socket::Socket;

#[tokio::test]
async fn subscribers_are_told_who_comes_and_goes_if_they_ask() {
    let gateway = gateway(&[]);
    let (mut ann, ann_id) = connect(&gateway, "ann").await;
    let (mut deaf, _) = connect(&gateway, "deaf").await;
    subscribe(&mut deaf, "room:7", false).await;
    subscribe(&mut ann, "room:7", true).await;
    let own = hear(&mut ann, "join", "ann").await;
    let member = json!({"connection_id": ann_id, "user": "ann", "info": {"name": "ann", "room": "7"}});
    assert_eq!(own, json!({"channel": "room:7", "member": member}));

    let (mut bob, bob_id) = connect(&gateway, "bob").await;
    subscribe(&mut bob, "room:7", false).await;
    assert_eq!(hear(&mut ann, "join", "bob").await["member"]["connection_id"], bob_id);
    // A second connection of the same user is neither told when it comes nor when it goes.
    let (mut again, _) = connect(&gateway, "bob").await;
    subscribe(&mut again, "room:7", false).await;
    drop(again);
    // The anonymous are told one by one.
    let (mut nobody, nobody_id) = connect_as(&gateway, None).await;
    subscribe(&mut nobody, "room:7", false).await;
    let came = ann.json_of_type("join").await;
    assert_eq!(came["data"]["member"], json!({"connection_id": nobody_id, "user": null, "info": null}));

    let page = eventually("the second connection is counted no more", || {
        let page = get(gateway.admin, "/v1/presence/room:7").json();
        (page["clients"] == 4).then_some(page)
    });
    assert_eq!((page["users"].as_u64(), page["members"].as_array().unwrap().len()), (Some(3), 4));
    let answer = ask(&mut bob, json!({"channel": "room:7"})).await;
    let fields = ["channel", "members", "clients", "users"];
    assert!(fields.iter().all(|field| answer["data"][field] == page[field]), "{answer} {page}");
    drop(bob);
    drop(nobody);
    let mut gone: Vec<Value> = vec![ann.json().await, ann.json().await];
    gone.sort_by_key(|gone| gone["data"]["member"]["user"].is_null());
    assert_eq!([&gone[0]["type"], &gone[1]["type"]], ["leave", "leave"]);
    assert_eq!(gone[0]["data"]["member"]["connection_id"], bob_id);
    assert_eq!(gone[1]["data"]["member"]["connection_id"], nobody_id);
    // Who did not ask heard nothing of all this.
    deaf.send(&json!({"type": "ping"})).await;
    assert_eq!(deaf.json().await["type"], "pong");
}

#[tokio::test]
async fn only_who_may_hear_a_channel_may_ask_who_does() {
    let gateway = gateway(&[]);
    let (mut ann, ann_id) = connect(&gateway, "ann").await;
    subscribe(&mut ann, "own:ann", false).await;
    let (mut eve, eve_id) = connect(&gateway, "eve").await;
    for (channel, code) in [
        ("own:ann", "forbidden"),
        ("plain", "not_available"),
        ("nowhere", "unknown_channel"),
        ("a b", "bad_request"),
    ] {
        assert_eq!(ask(&mut eve, json!({"channel": channel})).await["data"]["code"], code, "{channel}");
    }
    // To be told is refused where nobody is, and then nothing is subscribed.
    let wish = json!({"type": "subscribe", "data": {"channel": "own:eve", "presence": true}});
    eve.send(&wish).await;
    assert_eq!(eve.json().await["data"]["code"], "not_available");
    assert_eq!(ask(&mut eve, json!({"channel": "own:eve"})).await["data"]["clients"], 0);
    // Whom the application lets in may ask, whatever the rule says.
    let body = json!({"connection": eve_id, "channel": "own:ann"}).to_string();
    support::http::exchange(
        gateway.admin,
        "POST",
        "/v1/subscribe",
        &[("content-type", "application/json")],
        &body,
    );
    eve.json_of_type("subscribed").await;
    eventually("both are there", || {
        (get(gateway.admin, "/v1/presence/own:ann").json()["clients"] == 2).then_some(())
    });
    let answer = ask(&mut eve, json!({"channel": "own:ann"})).await;
    assert!(answer["data"]["members"].as_array().unwrap().iter().any(|one| one["connection_id"] == ann_id));
    for (path, status, code) in [
        ("/v1/presence/plain", 404, "not_available"),
        ("/v1/presence/nowhere", 404, "unknown_channel"),
        ("/v1/presence/a%20b", 400, "bad_request"),
        ("/v1/presence/own:ann?limit=1001", 400, "bad_request"),
        ("/v1/presence/own:ann?cursor=x", 400, "bad_request"),
    ] {
        let answer = get(gateway.admin, path);
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)), "{path}");
    }
}

#[tokio::test]
async fn pages_hold_everybody_once() {
    let gateway = gateway(&[]);
    let sockets: Vec<(Socket, String)> = join_all((0..25).map(|at| async move { at }).map(|at| async {
        let (mut socket, id) = connect(&gateway, &format!("user-{}", at.await % 10)).await;
        subscribe(&mut socket, "room:big", false).await;
        (socket, id)
    }))
    .await;
    eventually("all are there", || {
        (get(gateway.admin, "/v1/presence/room:big?limit=0").json()["clients"] == 25).then_some(())
    });
    let mut expected: Vec<String> = sockets.iter().map(|(_, id)| id.clone()).collect();
    expected.sort();
    assert_eq!(members(&gateway, "room:big", 7), expected);
    let (mut ann, _) = connect(&gateway, "ann").await;
    let (mut found, mut cursor) = (Vec::new(), json!(null));
    loop {
        let answer = ask(&mut ann, json!({"channel": "room:big", "limit": 10, "cursor": cursor})).await;
        assert_eq!((&answer["data"]["clients"], &answer["data"]["users"]), (&json!(25), &json!(10)));
        let page = answer["data"]["members"].as_array().unwrap().clone();
        found.extend(page.iter().map(|one| one["connection_id"].as_str().unwrap().to_owned()));
        cursor = answer["data"]["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_storm_of_joins_is_told_as_one_gap() {
    let gateway = gateway(&["--shards", "2"]);
    let (mut watcher, _) = connect(&gateway, "watcher").await;
    subscribe(&mut watcher, "room:storm", true).await;
    let storm = join_all((0..1_100).map(|_| async {
        let (mut socket, _) = connect_as(&gateway, None).await;
        socket.send(&json!({"type": "subscribe", "data": {"channel": "room:storm", "presence": true}})).await;
        socket
    }))
    .await;
    let (mut joins, mut gap) = (0, None);
    while gap.is_none() {
        let told = watcher.json().await;
        joins += usize::from(told["type"] == "join");
        gap = Some(told).filter(|told| told["type"] == "gap");
    }
    assert_eq!((joins, &gap.unwrap()["data"]["reason"]), (1_000, &json!("crowded")));
    eventually("everybody is there", || {
        (get(gateway.admin, "/v1/presence/room:storm?limit=0").json()["clients"] == 1_101).then_some(())
    });
    let crowded = || gateway.metric("rtgw_dropped_total", "reason=\"crowded\"");
    assert!(crowded() >= 100.0, "{}", crowded());
    drop(storm);
    assert_eq!(watcher.json_of_type("gap").await["data"]["reason"], "crowded", "when it has shrunk");
    watcher.json_of_type("leave").await;
}

#[tokio::test]
async fn who_reconnects_at_once_has_not_left() {
    let gateway = gateway(&[]);
    let (mut ann, _) = connect(&gateway, "ann").await;
    subscribe(&mut ann, "room:7", true).await;
    hear(&mut ann, "join", "ann").await;
    let (mut bob, _) = connect(&gateway, "bob").await;
    subscribe(&mut bob, "room:7", false).await;
    hear(&mut ann, "join", "bob").await;
    drop(bob);
    let (mut bob, id) = connect(&gateway, "bob").await;
    subscribe(&mut bob, "room:7", false).await;
    eventually("the first connection is counted no more", || {
        (members(&gateway, "room:7", 10).len() == 2).then_some(())
    });
    drop(bob);
    let begun = Instant::now();
    let left = ann.json().await;
    assert_eq!((&left["type"], &left["data"]["member"]["connection_id"]), (&json!("leave"), &json!(id)));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}
