//! The API at the program as it is started, from a manifest with keys: scopes, orders to live connections, lists, publications that
//! go out once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod api_support;
mod support;

use std::collections::BTreeSet;

use api_support::{ADMIN, JOBS, KEYS, MARK, OTHER_JOBS, READER, connect, gateway, get, order, post, token};
use serde_json::json;
use support::http::exchange;
use support::socket::Socket;

/// Which scope opens which door, tried with every key at every route: nobody gets past its own, and `admin` everywhere.
#[test]
fn scopes_do_not_cross() {
    let gateway = gateway();
    let posts = [
        ("/v1/publish", "publish"),
        ("/v1/broadcast", "publish"),
        ("/v1/batch", "publish"),
        ("/v1/subscribe", "subscribe"),
        ("/v1/unsubscribe", "subscribe"),
        ("/v1/disconnect", "disconnect"),
        ("/v1/revoke", "revoke"),
        ("/v1/refresh", "admin"),
    ];
    let gets = [
        ("/v1/channels", "read"),
        ("/v1/connections", "read"),
        ("/v1/info", "read"),
        ("/v1/history/jobs:1", "read"),
        ("/v1/presence/jobs:1", "presence"),
        ("/config", "read"),
        ("/v1/openapi.json", "any"),
    ];
    for (key, scope) in KEYS {
        let opens = |needed: &str| needed == scope || scope == "admin" || needed == "any";
        for (path, needed) in posts {
            let answer = post(&gateway, key, path, &json!({}));
            // An empty body is wrong everywhere, and only who may ask is told so.
            assert_eq!(answer.status, if opens(needed) { 400 } else { 403 }, "{scope} {path}: {answer:?}");
        }
        for (path, needed) in gets {
            let status = get(&gateway, key, path).status;
            let good = if path.contains("jobs:1") { 404 } else { 200 };
            assert_eq!(status, if opens(needed) { good } else { 403 }, "{scope} {path}");
        }
    }
    for (path, _) in posts {
        assert_eq!(post(&gateway, "no-such-key-no-such-key", path, &json!({})).status, 401, "{path}");
    }
    for (path, _) in gets {
        assert_eq!(exchange(gateway.admin, "GET", path, &[], "").status, 401, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/console/"] {
        assert_eq!(exchange(gateway.admin, "GET", path, &[], "").status, 200, "{path}");
    }
}

#[test]
fn a_key_publishes_only_where_it_may() {
    let gateway = gateway();
    let publish = |channel: &str| json!({"channel": channel, "event": "e", "data": 1});
    assert_eq!(post(&gateway, JOBS, "/v1/publish", &publish("jobs:1")).status, 200);
    // What is not declared is not told apart from what is.
    for channel in ["private:1", "staff", "nowhere", "jobs"] {
        let answer = post(&gateway, JOBS, "/v1/publish", &publish(channel));
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("forbidden")), "{channel}");
    }
    let broadcast = |channels: &[&str]| json!({"channels": channels, "event": "e", "data": 1});
    assert_eq!(post(&gateway, JOBS, "/v1/broadcast", &broadcast(&["jobs:1", "jobs:2"])).status, 200);
    assert_eq!(post(&gateway, JOBS, "/v1/broadcast", &broadcast(&["jobs:1", "private:1"])).status, 403);
    assert_eq!(post(&gateway, ADMIN, "/v1/broadcast", &broadcast(&["jobs:1", "private:1"])).status, 200);
    let before = gateway.metric("rtgw_publications_total", "source=\"api\"");
    let batch = json!({"publications": [publish("jobs:1"), publish("private:1")]});
    let answer = post(&gateway, JOBS, "/v1/batch", &batch);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("publications[1].channels[0]"), "{answer:?}");
    assert_eq!(gateway.metric("rtgw_publications_total", "source=\"api\""), before, "all or nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_with_a_key_goes_out_once() {
    let gateway = gateway();
    let (mut socket, _) = connect(&gateway, json!({"sub": "ann"})).await;
    socket.send(&json!({"type": "subscribe", "data": {"channel": "jobs:1"}})).await;
    socket.json_of_type("subscribed").await;
    let body = |event: &str, name: &str| json!({"channel": "jobs:1", "event": event, "data": 1, "idempotencyKey": name});
    let publish = |key: &str, event: &str, name: &str| {
        let answer = post(&gateway, key, "/v1/publish", &body(event, name));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let first = publish(JOBS, "first", "k");
    let again = publish(JOBS, "again", "k");
    assert_eq!((&again["id"], &again["repeated"]), (&first["id"], &json!(true)));
    assert_eq!(first.get("repeated"), None);
    // The same name is another program's own, and a client's own.
    assert_ne!(publish(OTHER_JOBS, "of another key", "k")["id"], first["id"]);
    let mut ids = Vec::new();
    let mut heard = Vec::new();
    for event in ["of a client", "of a client, again"] {
        socket.send(&json!({"type": "publish", "id": 1, "data": body(event, "k")})).await;
        loop {
            let message = socket.json().await;
            match message["type"].as_str().unwrap() {
                "published" => break ids.push(message["data"]["id"].clone()),
                kind => heard.push(kind.to_owned()),
            }
        }
    }
    assert_eq!(ids[0], ids[1]);
    let header = [("content-type", "application/json"), ("x-api-key", JOBS), ("idempotency-key", "k")];
    let plain = json!({"channel": "jobs:1", "event": "by header", "data": 1}).to_string();
    let answer = exchange(gateway.admin, "POST", "/v1/publish", &header, &plain);
    assert_eq!(answer.json()["id"], first["id"], "{answer:?}");
    let batch = json!({"publications": [body("of a batch", "b"), body("of a batch, again", "b")]});
    let results = post(&gateway, JOBS, "/v1/batch", &batch).json();
    assert_eq!(results["results"][0]["id"], results["results"][1]["id"], "{results}");
    publish(JOBS, "last", "other");
    while heard.last().map(String::as_str) != Some("last") {
        let message = socket.json().await;
        heard.push(message["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(heard, ["first", "of another key", "of a client", "of a batch", "last"]);
    for name in ["", &"x".repeat(129)] {
        let bad = post(&gateway, JOBS, "/v1/publish", &body("e", name));
        assert!(bad.status == 400 && bad.body.contains("idempotencyKey"), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_says_what_its_connections_hear() {
    let gateway = gateway();
    let (mut ann, _) = connect(&gateway, json!({"sub": "ann", "tenant": "acme"})).await;
    let (_other_ann, _) = connect(&gateway, json!({"sub": "ann", "tenant": "other"})).await;
    let (mut bob, _) = connect(&gateway, json!({"sub": "bob", "tenant": "acme"})).await;
    // The rule of the channel lets nobody in; the application does.
    let private = json!({"user": "ann", "tenant": "acme", "channel": "private:1"});
    assert_eq!(order(&gateway, "/v1/subscribe", &private), 1);
    assert_eq!(ann.json_of_type("subscribed").await["data"]["channel"], "private:1");
    let both = json!({"tenant": "acme", "channels": ["jobs:1", "jobs:2"]});
    assert_eq!(order(&gateway, "/v1/subscribe", &both), 4);
    assert_eq!(order(&gateway, "/v1/subscribe", &json!({"user": "nobody", "channel": "jobs:1"})), 0);
    for (body, code) in [
        (json!({"user": "ann", "channel": "nowhere"}), "unknown_channel"),
        (json!({"user": "ann", "channel": "a b"}), "bad_request"),
        (json!({"user": "ann", "channels": ["jobs:9", "nowhere"]}), "unknown_channel"),
        (json!({"user": "ann"}), "bad_request"),
        (json!({"channel": "jobs:1"}), "bad_request"),
        (json!({"user": "", "channel": "jobs:1"}), "bad_request"),
        (json!({"usr": "ann", "channel": "jobs:1"}), "bad_request"),
        (json!([null, null, null, "jobs:1"]), "bad_request"),
    ] {
        let answer = post(&gateway, ADMIN, "/v1/subscribe", &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (400, &json!(code)),
            "{body}: {answer:?}"
        );
    }
    let channels = get(&gateway, READER, "/v1/channels").json();
    let heard = |channel: &str, subscribers: u64| json!({"channel": channel, "subscribers": subscribers});
    let expected = json!([heard("jobs:1", 2), heard("jobs:2", 2), heard("private:1", 1)]);
    assert_eq!(channels["channels"], expected, "nobody heard jobs:9: a list with a slip does nothing");
    assert_eq!(order(&gateway, "/v1/unsubscribe", &json!({"user": "bob", "channel": "jobs:1"})), 1);
    assert_eq!(bob.json_of_type("unsubscribed").await["data"]["channel"], "jobs:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_changes_and_ends_its_connections() {
    let gateway = gateway();
    let (mut ann, id) = connect(&gateway, json!({"sub": "ann", "tenant": "acme"})).await;
    let (mut other_ann, _) = connect(&gateway, json!({"sub": "ann", "tenant": "other"})).await;
    let (mut bob, _) = connect(&gateway, json!({"sub": "bob"})).await;
    // Another role, on the connection as it is.
    let staff = json!({"type": "subscribe", "data": {"channel": "staff"}});
    ann.send(&staff).await;
    assert_eq!(ann.json_of_type("error").await["data"]["code"], "forbidden");
    let promoted = json!({"connection": id, "claims": {"sub": "ann", "role": "staff"}});
    assert_eq!(order(&gateway, "/v1/refresh", &promoted), 1);
    ann.send(&staff).await;
    assert_eq!(ann.json_of_type("subscribed").await["data"]["channel"], "staff");
    assert_eq!(order(&gateway, "/v1/refresh", &json!({"connection": id, "claims": {"sub": "ann"}})), 1);
    let lost = ann.json_of_type("unsubscribed").await["data"].clone();
    assert_eq!(lost, json!({"channel": "staff", "reason": "permission_changed"}));
    let ends = "2100-01-01T00:00:00Z";
    assert_eq!(order(&gateway, "/v1/refresh", &json!({"user": "bob", "expiresAt": ends})), 1);
    assert_eq!(
        get(&gateway, READER, "/v1/connections?user=bob").json()["connections"][0]["expires_at"],
        ends
    );
    for body in [
        json!({"user": "bob"}),
        json!({"user": "bob", "expiresAt": "2001-01-01T00:00:00Z"}),
        json!({"user": "bob", "claims": []}),
        json!({"claims": {}}),
    ] {
        assert_eq!(post(&gateway, ADMIN, "/v1/refresh", &body).status, 400, "{body}");
    }

    assert_eq!(order(&gateway, "/v1/disconnect", &json!({"user": "ann", "tenant": "other"})), 1);
    let close = other_ann.closed().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4403, "removed by the application"));
    assert_eq!(post(&gateway, ADMIN, "/v1/disconnect", &json!({"user": "ann", "code": 4999})).status, 400);
    let elsewhere = json!({"connection": id, "code": 4409, "reason": "elsewhere"});
    assert_eq!(order(&gateway, "/v1/disconnect", &elsewhere), 1);
    let close = ann.closed().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4409, "elsewhere"));
    assert_eq!(order(&gateway, "/v1/revoke", &json!({"user": "bob", "ttl": 600})), 1);
    assert_eq!(u16::from(bob.closed().await.unwrap().code), 4401);
    let url = format!("{}?token={}", gateway.url("/ws"), token(&json!({"sub": "bob"})));
    assert_eq!(Socket::try_open(&url, &[]).await.err().unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_without_claims() {
    let gateway = gateway();
    let mut sockets = Vec::new();
    for at in 0..25 {
        let tenant = if at < 20 { "acme" } else { "other" };
        let claims = json!({"sub": format!("user-{at}"), "tenant": tenant, "email": "claim-s3cret"});
        let (mut socket, id) = connect(&gateway, claims).await;
        socket.send(&json!({"type": "subscribe", "data": {"channel": format!("jobs:{at}")}})).await;
        socket.json_of_type("subscribed").await;
        sockets.push((socket, id));
    }
    let pages = |list: &str, key: &str, query: &str| {
        let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let answer = get(&gateway, READER, &format!("/v1/{list}?limit=7&{query}{cursor}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(!answer.body.contains(MARK), "{answer:?}");
            let page = answer.json();
            let items = page[list].as_array().unwrap();
            found.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return (found, pages),
            }
        }
    };
    let ids: BTreeSet<String> = sockets.iter().map(|(_, id)| id.clone()).collect();
    let (found, count) = pages("connections", "connection_id", "");
    assert_eq!((found.len(), count), (25, 4));
    assert_eq!(BTreeSet::from_iter(found), ids);
    assert_eq!(pages("connections", "user", "tenant=acme&endpoint=ws").0.len(), 20);
    assert_eq!(pages("connections", "user", "channel=jobs:3").0, ["user-3"]);
    assert_eq!(pages("connections", "user", "user=user-3&tenant=other").0.len(), 0);
    let (found, count) = pages("channels", "channel", "");
    assert_eq!((found.len(), count), (25, 4));
    assert!(found.is_sorted());
    assert_eq!(pages("channels", "channel", "prefix=jobs:1").0.len(), 11);
    assert_eq!(pages("channels", "channel", "pattern=jobs:*&scope=cluster").0.len(), 25);
    assert_eq!(pages("channels", "channel", "pattern=private:*").0.len(), 0);
    for query in
        ["limit=0", "limit=1001", "limit=x", "cursor=x%20y", "pattern=a%20b", "usr=x", "limit=1&limit=2"]
    {
        let answer = get(&gateway, READER, &format!("/v1/channels?{query}"));
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
    assert_eq!(get(&gateway, READER, "/v1/connections?endpoint=nowhere").status, 400);
    assert_eq!(get(&gateway, READER, "/v1/connections?cursor=zz").status, 400);
}
