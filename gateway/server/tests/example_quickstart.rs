//! The example quickstart, as `make run` serves it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use serde_json::json;
use support::gateway::{Gateway, rtgw};
use support::http;
use support::process::Process;
use support::root;
use support::socket::Socket;

const MANIFEST: &str = "examples/quickstart/gateway.yaml";

/// A token of `user`, signed by the program.
fn token(user: &str) -> String {
    let output =
        rtgw().arg("token").arg("-f").arg(root().join(MANIFEST)).args(["--sub", user]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn demo_events_arrive_and_filters_choose() {
    let gateway = Gateway::serve(MANIFEST, &["--demo"]);
    let mut client = Socket::open(&gateway.url("/ws")).await;
    client.json_of_type("connected").await;
    client.send(&json!({"type": "subscribe", "data": {"channel": "demo:orders"}})).await;
    client.json_of_type("subscribed").await;
    let event = client.json().await;
    assert!(event["data"].is_object() && event["timestamp"].is_string(), "{event}");

    client.send(&json!({"type": "subscribe", "id": 2, "data": {"channel": "demo:orders", "filters": {"colours": ["red"]}}})).await;
    let error = client.json_of_type("error").await;
    assert_eq!((&error["id"], &error["data"]["code"]), (&json!(2), &json!("unknown_filter")));
}

#[tokio::test]
async fn who_has_a_token_speaks_and_who_has_none_listens() {
    let gateway = Gateway::serve(MANIFEST, &[]);
    let mut nobody = Socket::open(&gateway.url("/ws")).await;
    nobody.json_of_type("connected").await;
    nobody.send(&json!({"type": "subscribe", "data": {"channel": "room:lobby"}})).await;
    nobody.json_of_type("subscribed").await;
    let words = json!({"type": "publish", "id": 1, "data": {"channel": "room:lobby", "event": "said", "data": {"text": "hello"}}});
    nobody.send(&words).await;
    assert_eq!(nobody.json_of_type("error").await["data"]["code"], "forbidden");

    let mut ada = Socket::open(&gateway.url(&format!("/ws?token={}", token("ada")))).await;
    ada.json_of_type("connected").await;
    ada.send(&words).await;
    assert_eq!(ada.json_of_type("published").await["id"], 1);
    assert_eq!(nobody.json_of_type("said").await["data"], json!({"text": "hello"}));

    nobody.send(&json!({"type": "subscribe", "data": {"channel": "user:ada"}})).await;
    assert_eq!(nobody.json_of_type("error").await["data"]["code"], "forbidden");
}

#[tokio::test]
async fn a_user_hears_their_own_channel_from_the_greeting_on() {
    let gateway = Gateway::serve(MANIFEST, &[]);
    // Several, because what is tested is that nothing is lost between two messages: once would be luck.
    for number in 0..30 {
        let user = format!("user-{number}");
        let bearer = format!("Bearer {}", token(&user));
        let mut socket =
            Socket::try_open(&gateway.url("/ws"), &[("authorization", bearer.as_str())]).await.unwrap();
        socket.json_of_type("connected").await;
        let invoice =
            json!({"channel": format!("user:{user}"), "event": "invoice.paid", "data": {"invoice": 7}});
        let answer = http::post(gateway.admin, "/v1/publish", &invoice);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(socket.json_of_type("invoice.paid").await["data"]["invoice"], 7);
    }
}

#[tokio::test]
async fn a_forged_token_and_a_foreign_origin_are_refused() {
    let gateway = Gateway::serve(MANIFEST, &[]);
    let forged = gateway.url(&format!("/ws?token={}x", token("ada")));
    assert_eq!(Socket::try_open(&forged, &[]).await.err().unwrap().status(), 401);
    let foreign = Socket::try_open(&gateway.url("/ws"), &[("origin", "https://elsewhere.example")]).await;
    assert_eq!(foreign.err().unwrap().status(), 403);
    assert!(Socket::try_open(&gateway.url("/ws"), &[("origin", "http://127.0.0.1:9090")]).await.is_ok());
}

#[tokio::test]
async fn the_command_line_subscribes_and_publishes() {
    let gateway = Gateway::serve(MANIFEST, &[]);
    let mut listener =
        Process::start(rtgw().args(["subscribe", &gateway.url("/ws"), "room:lobby", "--count", "3"]));
    listener.wait_for("answer", |line| line.contains(r#""type":"subscribed""#));
    let admin = format!("http://{}", gateway.admin);
    let mut publish = rtgw();
    publish.args(["publish", "--admin", &admin, "room:lobby", "greeting", r#"{"text":"hello"}"#]);
    let published = publish.output().unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    // The greeting, the answer, and this: the third and last message.
    let heard = listener.wait_for("message", |_| true);
    assert_eq!(listener.ended().code(), Some(0));
    let message: serde_json::Value = serde_json::from_str(&heard).unwrap();
    assert_eq!(message["data"]["text"], "hello");
}
