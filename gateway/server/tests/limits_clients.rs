//! Limits of users, addresses and tenants: each refuses whom it means, as the contract says it, counts exactly and gives back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits_support;
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use limits_support::{Caller, let_in, serve};
use serde_json::{Value, json};
use support::gateway::Gateway;
use support::socket::Socket;
use support::{PATIENCE, eventually};

const PROTOCOL: &str = "sec-websocket-protocol";

/// How a client of our protocol is refused: code and reason.
async fn closed(caller: &Caller, gateway: &Gateway) -> (u16, String) {
    let mut socket = caller.clone().header(PROTOCOL, "rtgw.json.v1").enter(gateway).await.unwrap();
    let close = socket.closed().await.unwrap();
    (close.code.into(), close.reason.as_str().to_owned())
}

#[track_caller]
fn assert_after(reason: &str, range: std::ops::RangeInclusive<u32>) {
    let after: u32 = reason.strip_prefix("after=").unwrap().parse().unwrap();
    assert!(range.contains(&(after / 1000)) && after.is_multiple_of(1000), "{reason}");
}

fn handshakes(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("rtgw_handshakes_total", &format!("result=\"{result}\""))
}

async fn lives(socket: &mut Socket) {
    socket.send(&json!({"type": "ping", "id": "alive"})).await;
    assert_eq!(socket.json_of_type("pong").await["id"], "alive");
}

#[tokio::test]
async fn user_connections_refuse_the_new_exactly_and_give_back() {
    let gateway = serve("user-refuse", "  limits: {user: {connections: 5}}");
    let ann = Caller::user("ann", "a");
    let tried = join_all((0..50).map(|_| ann.enter(&gateway))).await;
    let (held, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
    assert_eq!((held.len(), refused.len()), (5, 45));
    let refused: Vec<_> = refused.into_iter().filter_map(Result::err).collect();
    for refusal in &refused {
        assert_eq!((refusal.status, refusal.code.as_str()), (429, "user_limit"));
        assert!((5..=15).contains(&refusal.retry_after.unwrap()), "{refusal:?}");
    }
    assert!(
        refused.iter().any(|one| one.retry_after != refused[0].retry_after),
        "45 clients are told to come back together"
    );
    let (code, reason) = closed(&ann, &gateway).await;
    assert_eq!(code, 4429);
    assert_after(&reason, 5..=15);
    assert_eq!(handshakes(&gateway, "user_limit"), 46.0);

    // Others are others: another name, the same name in another tenant, and nobody, however often.
    let _others =
        [Caller::user("bob", "a").enters(&gateway).await, Caller::user("ann", "b").enters(&gateway).await];
    let anyone = Caller::anyone();
    let anonymous = join_all((0..20).map(|_| anyone.enter(&gateway))).await;
    assert!(anonymous.iter().all(Result::is_ok));
    // Who is refused by a later step has given the place back, and whoever leaves does.
    let banned = Caller::with_claims(json!({"sub": "eve", "banned": true}));
    for _ in 0..10 {
        banned.refused(&gateway, 403, "forbidden").await;
    }
    drop(held);
    join_all((0..5).map(|_| let_in(&ann, &gateway))).await;
}

#[tokio::test]
async fn user_connections_close_the_oldest_with_4409() {
    let gateway = serve("user-oldest", "  limits: {user: {connections: 2, policy: CloseOldest}}");
    let ann = Caller::user("ann", "a");
    let (mut first, _) = ann.enters(&gateway).await;
    let (mut second, _) = ann.enters(&gateway).await;
    let (mut other, _) = Caller::user("ann", "b").enters(&gateway).await;
    // Who is not admitted takes nobody's place.
    Caller::with_claims(json!({"sub": "ann", "tenant": "a", "banned": 1}))
        .refused(&gateway, 403, "forbidden")
        .await;
    lives(&mut first).await;
    let (mut third, _) = ann.enters(&gateway).await;
    let close = first.closed().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4409, "replaced"));
    for socket in [&mut second, &mut third, &mut other] {
        lives(socket).await;
    }
    // Who left by itself is not the oldest any more.
    drop(second);
    eventually("the second is gone", || (gateway.metric("rtgw_connections", "") == 2.0).then_some(()));
    let (mut fourth, _) = ann.enters(&gateway).await;
    lives(&mut third).await;

    // A storm leaves as many as may be, whichever they are.
    let storm = join_all((0..60).map(|_| ann.enter(&gateway))).await;
    let mut storm: Vec<Socket> = storm.into_iter().map(Result::unwrap).collect();
    eventually("the storm settles", || (gateway.metric("rtgw_connections", "") == 3.0).then_some(()));
    assert_eq!(gateway.metric("rtgw_closes_total", "code=\"4409\""), 61.0);
    assert_eq!(u16::from(third.closed().await.unwrap().code), 4409);
    assert_eq!(u16::from(fourth.closed().await.unwrap().code), 4409);
    let mut left = 0;
    for socket in &mut storm {
        socket.send(&json!({"type": "ping"})).await;
        left += u32::from(loop {
            match socket.json_or_close().await {
                Ok(message) if message["type"] == "pong" => break true,
                Ok(_) => {}
                Err(close) => {
                    assert_eq!(u16::from(close.unwrap().code), 4409);
                    break false;
                }
            }
        });
    }
    assert_eq!(left, 2);
    lives(&mut other).await;
}

#[tokio::test]
async fn ip_connections_stop_a_flood_and_let_others_in() {
    let gateway = serve("ip-flood", "  limits: {ip: {connections: 20}}");
    let flood = Caller::anyone().from(1);
    let mut held = Vec::new();
    let mut told = 0;
    for _ in 0..10 {
        for outcome in join_all((0..40).map(|_| flood.enter(&gateway))).await {
            match outcome {
                Ok(socket) => held.push(socket),
                Err(refused) if refused.status == 429 => {
                    assert_eq!(refused.code, "ip_limit");
                    assert!((5..=15).contains(&refused.retry_after.unwrap()));
                    told += 1;
                }
                // Above its connections that are not upgraded yet the answer may be lost with its connection.
                Err(refused) => assert_eq!(refused.status, 0, "{refused:?}"),
            }
        }
    }
    assert_eq!(held.len(), 20);
    assert!(told > 100, "{told}");
    let start = Instant::now();
    let (mut other, _) = Caller::anyone().from(2).enters(&gateway).await;
    lives(&mut other).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    lives(&mut held[19]).await;
    let (code, reason) = closed(&flood, &gateway).await;
    assert_eq!(code, 4429);
    assert_after(&reason, 5..=15);
    assert!(handshakes(&gateway, "ip_limit") > 100.0);
    // A socket that dies without a word gives its place back too.
    for socket in held.drain(..10) {
        let stream = match socket.0.get_ref() {
            tokio_tungstenite::MaybeTlsStream::Plain(stream) => stream,
            _ => panic!("plain"),
        };
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    join_all((0..10).map(|_| let_in(&flood, &gateway))).await;
    drop(held);
    eventually("all are gone", || (gateway.metric("rtgw_connections", "") == 1.0).then_some(()));
}

#[tokio::test]
async fn connections_that_say_nothing_are_the_addresses_own_problem() {
    let gateway = serve("ip-silent", "  limits: {ip: {connections: 4}}");
    let flood = Caller::anyone().from(1);
    let silent = join_all((0..300).map(|_| flood.connect(gateway.public))).await;
    let start = Instant::now();
    let (mut other, _) = Caller::anyone().from(2).enters(&gateway).await;
    lives(&mut other).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // 4 and 16 wait for their head, the rest have been told without asking.
    let mut told = 0;
    for stream in &silent {
        let mut head = [0; 12];
        told += usize::from(
            tokio::time::timeout(Duration::from_millis(1), stream.readable()).await.is_ok()
                && matches!(stream.try_read(&mut head), Ok(12) if &head == b"HTTP/1.1 429"),
        );
    }
    assert_eq!(told, 280);
    drop(silent);
    let_in(&flood, &gateway).await;
}

#[tokio::test]
async fn failed_handshakes_keep_no_place() {
    let gateway = serve("ip-failed", "  limits: {ip: {connections: 2}, user: {connections: 1}}");
    let _first = Caller::user("ann", "a").enters(&gateway).await;
    let forged = Caller::anyone().header("authorization", "Bearer a.b.c");
    let foreign = Caller::anyone().header("origin", "https://evil.test");
    for _ in 0..20 {
        forged.refused(&gateway, 401, "token_invalid").await;
        foreign.refused(&gateway, 403, "origin_not_allowed").await;
        Caller::user("ann", "a").refused(&gateway, 429, "user_limit").await;
    }
    // Handshakes whose client is gone before the answer.
    for _ in 0..20 {
        let mut stream = Caller::anyone().connect(gateway.public).await;
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let_in(&Caller::user("bob", "a"), &gateway).await;
}

#[tokio::test]
async fn limits_are_asked_in_the_order_of_the_contract() {
    let limits = "  limits: {ip: {connections: 2}, user: {connections: 1}, tenant: {connections: 1}}";
    let gateway = serve("order", limits);
    let ann = Caller::user("ann", "a");
    let _held = ann.enters(&gateway).await;
    let banned = Caller::with_claims(json!({"sub": "ann", "tenant": "a", "banned": true}));
    // The user's and the tenant's limit come before `admit`, the user's first, credentials before both.
    banned.refused(&gateway, 429, "user_limit").await;
    Caller::with_claims(json!({"sub": "bob", "tenant": "a", "banned": true}))
        .refused(&gateway, 429, "tenant_limit")
        .await;
    Caller::with_claims(json!({"sub": "bob", "tenant": "b", "banned": true}))
        .refused(&gateway, 403, "forbidden")
        .await;
    // The address's limit comes before credentials, the origin before that.
    let _second = Caller::user("bob", "b").enters(&gateway).await;
    let forged = Caller::anyone().header("authorization", "Bearer a.b.c");
    forged.refused(&gateway, 429, "ip_limit").await;
    forged.clone().from(2).refused(&gateway, 401, "token_invalid").await;
    forged.header("origin", "https://evil.test").refused(&gateway, 403, "origin_not_allowed").await;
}

#[tokio::test]
async fn an_address_at_its_limit_uses_up_nothing_of_the_pods_rate() {
    let gateway = serve("rate-and-ip", "  limits: {pod: {handshakesPerSecond: 30}, ip: {connections: 1}}");
    let flood = Caller::anyone().from(1);
    let _held = flood.enters(&gateway).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut tries = 0;
    while Instant::now() < deadline || tries < 100 {
        flood.refused(&gateway, 429, "ip_limit").await;
        tries += 1;
    }
    for last in 2..12 {
        Caller::anyone().from(last).enters(&gateway).await;
    }
    assert_eq!(handshakes(&gateway, "busy"), 0.0);
}

#[tokio::test]
async fn tenant_connections_are_of_all_its_users() {
    let gateway = serve("tenant", "  limits: {tenant: {connections: 6}}");
    let callers: Vec<_> = (0..30).map(|number| Caller::user(&format!("u{number}"), "a")).collect();
    let tried = join_all(callers.iter().map(|caller| caller.enter(&gateway))).await;
    let (held, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
    assert_eq!(held.len(), 6);
    for refusal in refused.into_iter().filter_map(Result::err) {
        assert_eq!((refusal.status, refusal.code.as_str()), (429, "tenant_limit"));
        assert!((5..=15).contains(&refusal.retry_after.unwrap()));
    }
    let (code, reason) = closed(&callers[0], &gateway).await;
    assert_eq!(code, 4429);
    assert_after(&reason, 5..=15);
    // Another tenant, users without one, and nobody.
    Caller::user("u0", "b").enters(&gateway).await;
    for number in 0..10 {
        Caller::with_claims(json!({"sub": format!("u{number}")})).enters(&gateway).await;
        Caller::anyone().enters(&gateway).await;
    }
    drop(held);
    join_all(callers.iter().take(6).map(|caller| let_in(caller, &gateway))).await;
}

/// Sends pings with ids and gives how many were answered and how many refused.
async fn ping(sockets: &mut [Socket], each: usize) -> (usize, usize) {
    for socket in sockets.iter_mut() {
        for id in 0..each {
            socket.send(&json!({"type": "ping", "id": id})).await;
        }
    }
    let (mut answered, mut refused) = (0, 0);
    for socket in sockets.iter_mut() {
        for id in 0..each {
            let answer: Value = socket.json().await;
            assert_eq!(answer["id"], id, "answers keep the order of the commands: {answer}");
            match answer["type"].as_str() {
                Some("pong") => answered += 1,
                Some("error") => {
                    assert_eq!(answer["data"]["code"], "rate_limited");
                    assert_eq!(answer["data"]["temporary"], true);
                    refused += 1;
                }
                _ => panic!("{answer}"),
            }
        }
    }
    (answered, refused)
}

#[tokio::test]
async fn tenant_messages_share_one_bucket_and_no_connection_ends() {
    let gateway = serve("tenant-rate", "  limits: {tenant: {messagesPerSecond: 20}}");
    let mut ours = Vec::new();
    for number in 0..5 {
        ours.push(Caller::user(&format!("u{number}"), "a").enters(&gateway).await.0);
    }
    let mut theirs = [Caller::user("u0", "b").enters(&gateway).await.0];
    let mut nobody = [Caller::anyone().enters(&gateway).await.0];
    let start = Instant::now();
    let (answered, refused) = ping(&mut ours, 30).await;
    let earned = 20 * (start.elapsed().as_secs() as usize + 1);
    assert!((20..=20 + earned).contains(&answered), "{answered} in {:?}", start.elapsed());
    assert_eq!(answered + refused, 150);
    assert!(refused > 0, "{:?}", start.elapsed());
    // Others have buckets of their own, or none.
    assert_eq!(ping(&mut theirs, 15).await, (15, 0));
    assert_eq!(ping(&mut nobody, 60).await, (60, 0));
    // To leave and come back fills no bucket.
    let before = Instant::now();
    ping(&mut ours[..1], 40).await;
    let mut again = Vec::new();
    drop(ours);
    for number in 0..5 {
        again.push(Caller::user(&format!("u{number}"), "a").enters(&gateway).await.0);
    }
    let (answered, _) = ping(&mut again, 30).await;
    let earned = 20 * (before.elapsed().as_millis() as usize + 100) / 1000;
    assert!(answered <= earned + 20, "{answered} in {:?}", before.elapsed());
    // All of them live, and speak again.
    let deadline = Instant::now() + PATIENCE;
    for socket in again.chunks_mut(1) {
        while ping(socket, 1).await.0 == 0 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(gateway.metric("rtgw_closes_total", "code=\"4429\""), 0.0);
    assert!(gateway.metric("rtgw_commands_total", "result=\"rate_limited\"") > 0.0);
}
