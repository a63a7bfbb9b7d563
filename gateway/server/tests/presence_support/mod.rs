//! Gateways whose channels have presence, and clients that hear them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, token};
use crate::support::http::get;
use crate::support::socket::Socket;

const MANIFEST: &str = "gateway/server/tests/vectors/presence.yaml";

#[track_caller]
pub fn gateway(arguments: &[&str]) -> Gateway {
    Gateway::serve(MANIFEST, arguments)
}

/// A connection of `user` and its id.
pub async fn connect(gateway: &Gateway, user: &str) -> (Socket, String) {
    connect_as(gateway, Some(user)).await
}

/// The same, of nobody where there is no user.
pub async fn connect_as(gateway: &Gateway, user: Option<&str>) -> (Socket, String) {
    let query = user.map_or_else(String::new, |user| {
        format!("?token={}", token(MANIFEST, user, &[&format!("name={user}")]))
    });
    let mut socket = Socket::open(&gateway.url(&format!("/ws{query}"))).await;
    let greeting = socket.json_of_type("connected").await;
    (socket, greeting["data"]["connection_id"].as_str().unwrap().to_owned())
}

/// Subscribes; `told` asks for who comes and goes.
pub async fn subscribe(socket: &mut Socket, channel: &str, told: bool) {
    socket.send(&json!({"type": "subscribe", "data": {"channel": channel, "presence": told}})).await;
    let answer = socket.json().await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
}

/// Subscribes `user` to be told who comes and goes, and hears itself come. Over several pods that may be told before `subscribed`: the
/// news come by their own way through Redis.
pub async fn enter(socket: &mut Socket, channel: &str, user: &str) {
    socket.send(&json!({"type": "subscribe", "data": {"channel": channel, "presence": true}})).await;
    let mut told = [socket.json().await, socket.json().await];
    told.sort_by_key(|told| told["type"].to_string());
    let [join, subscribed] = &told;
    assert_eq!((&join["type"], &join["data"]["member"]["user"]), (&json!("join"), &json!(user)), "{told:?}");
    assert_eq!(subscribed["type"], "subscribed", "{told:?}");
}

/// Asks who hears a channel; gives the answer or the error.
pub async fn ask(socket: &mut Socket, data: Value) -> Value {
    socket.send(&json!({"type": "presence", "id": 9, "data": data})).await;
    loop {
        let answer = socket.json().await;
        if answer["id"] == 9 {
            return answer;
        }
    }
}

/// The next message, which tells of `user`.
pub async fn hear(socket: &mut Socket, kind: &str, user: &str) -> Value {
    let told = socket.json().await;
    assert_eq!((&told["type"], &told["data"]["member"]["user"]), (&json!(kind), &json!(user)), "{told}");
    told["data"].clone()
}

/// The ids of all that the API shows, in pages of `limit`.
#[track_caller]
pub fn members(gateway: &Gateway, channel: &str, limit: u32) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(gateway.admin, &format!("/v1/presence/{channel}?limit={limit}{cursor}")).json();
        let page_members = page["members"].as_array().unwrap();
        assert!(page_members.len() <= limit as usize, "{page}");
        found.extend(page_members.iter().map(|one| one["connection_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}
