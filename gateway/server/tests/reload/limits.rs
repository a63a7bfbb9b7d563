//! The pod's limits over reloads, under connections that are there.

use serde_json::json;

use crate::stage::{Manifest, change, manifest};
use crate::support::gateway::Gateway;
use crate::support::socket::Socket;
use crate::support::{eventually, http};

fn spec(pod: &str) -> String {
    manifest(&format!(
        "auth: {{anonymous: Allow}}\nendpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
         channels: [{{pattern: 'room:{{id}}', subscribe: 'true'}}]\nlimits: {{pod: {{{pod}}}}}"
    ))
}

async fn refused(gateway: &Gateway) -> Option<u16> {
    Socket::try_open(&gateway.url("/ws"), &[]).await.err().map(|answer| answer.status().as_u16())
}

/// The answer to a subscribe: its type, or the refusal's code.
async fn subscribe(socket: &mut Socket, room: &str) -> String {
    socket.send(&json!({"type": "subscribe", "id": "q", "data": {"channel": format!("room:{room}")}})).await;
    loop {
        let answer = socket.json().await;
        if answer["id"] == "q" {
            let of = if answer["type"] == "error" { &answer["data"]["code"] } else { &answer["type"] };
            return of.as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_shrink_and_grow_under_live_connections() {
    let file = Manifest::new("places", &spec("connections: 6"));
    let gateway = file.serve(&[]);
    let mut sockets = Vec::new();
    for number in 0..6 {
        let mut socket = Socket::open(&gateway.url("/ws")).await;
        assert_eq!(subscribe(&mut socket, &number.to_string()).await, "subscribed");
        sockets.push(socket);
    }
    assert_eq!(refused(&gateway).await, Some(503));
    let capacity = || gateway.metric("rtgw_connection_capacity", "");
    let held = || gateway.metric("rtgw_connections", "");
    assert_eq!(capacity(), 6.0);
    eventually("all are counted", || (held() == 6.0).then_some(()));

    change(&file, &gateway, &spec("connections: 3"));
    assert_eq!((capacity(), held()), (3.0, 6.0), "who is there stays");
    assert_eq!(
        http::get(gateway.admin, "/readyz").status,
        200,
        "a full pod is refused at admission, not by readiness"
    );
    for (number, socket) in sockets.iter_mut().enumerate() {
        let body = json!({"channel": format!("room:{number}"), "event": "n", "data": number});
        assert_eq!(http::post(gateway.admin, "/v1/publish", &body).status, 200);
        assert_eq!(socket.json_of_type("n").await["data"], json!(number));
    }
    // Three too many: their places are gone with them, and no sooner is anybody let in than below the limit.
    for left in (2..6).rev() {
        assert_eq!(refused(&gateway).await, Some(503), "{left}");
        drop(sockets.pop());
        eventually("its place is free", || (held() as usize == left).then_some(()));
    }
    let third = Socket::open(&gateway.url("/ws")).await;
    assert_eq!(refused(&gateway).await, Some(503));

    change(&file, &gateway, &spec("connections: 5"));
    let _more = [Socket::open(&gateway.url("/ws")).await, Socket::open(&gateway.url("/ws")).await];
    assert_eq!((refused(&gateway).await, capacity()), (Some(503), 5.0));
    eventually("all are counted", || (held() == 5.0).then_some(()));
    // No limit is as many as there are files.
    change(&file, &gateway, &spec(""));
    assert!(capacity() > 5.0);
    assert_eq!(refused(&gateway).await, None);
    drop(third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_shrink_and_grow_under_live_subscriptions() {
    let file = Manifest::new("channels", &spec("channels: 4"));
    let gateway = file.serve(&[]);
    let (mut one, mut other) =
        (Socket::open(&gateway.url("/ws")).await, Socket::open(&gateway.url("/ws")).await);
    for room in ["a", "b", "c", "d"] {
        assert_eq!(subscribe(&mut one, room).await, "subscribed");
    }
    assert_eq!(subscribe(&mut one, "e").await, "not_available");
    // An order of the application's is bound by the same places, all of its channels or none.
    let order = |rooms: &[&str]| {
        let channels: Vec<String> = rooms.iter().map(|room| format!("room:{room}")).collect();
        let answer =
            http::post(gateway.admin, "/v1/subscribe", &json!({"user": "ann", "channels": channels}));
        (answer.status, answer.json()["error"]["code"].clone())
    };
    assert_eq!(order(&["a", "d"]).0, 200, "carried already");
    assert_eq!(order(&["a", "e"]), (503, json!("not_available")));
    change(&file, &gateway, &spec("channels: 2"));
    for room in ["a", "d"] {
        assert_eq!(subscribe(&mut other, room).await, "subscribed", "carried already");
    }
    assert_eq!(subscribe(&mut other, "e").await, "not_available");
    for room in ["a", "b", "c", "d"] {
        let body = json!({"channel": format!("room:{room}"), "event": "n", "data": room});
        assert_eq!(http::post(gateway.admin, "/v1/publish", &body).status, 200);
        assert_eq!(one.json_of_type("n").await["data"], json!(room), "what was subscribed stays so");
    }
    change(&file, &gateway, &spec("channels: 5"));
    assert_eq!(order(&["e"]).0, 200);
    assert_eq!(subscribe(&mut other, "e").await, "subscribed");
    assert_eq!(subscribe(&mut other, "f").await, "not_available");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_handshakes_is_that_of_the_file() {
    let file = Manifest::new("rate", &spec("handshakesPerSecond: 1"));
    let gateway = file.serve(&[]);
    let burst = async || {
        let mut open = 0;
        for _ in 0..40 {
            open += usize::from(refused(&gateway).await.is_none());
        }
        open
    };
    let slow = burst().await;
    assert!(slow < 20, "{slow}");
    change(&file, &gateway, &spec("handshakesPerSecond: 100000"));
    assert_eq!(burst().await, 40);
    change(&file, &gateway, &spec("handshakesPerSecond: 1"));
    let slow = burst().await;
    assert!(slow < 20, "{slow}");
}
