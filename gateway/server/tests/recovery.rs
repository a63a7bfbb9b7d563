//! What clients missed and where channels stand, on a running gateway and real sockets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::http;
use support::socket::Socket;

const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: recovery}
spec:
  endpoints:
  - {name: ws, path: /ws, metadata: true, greeting: {disabled: true}}
  - {name: raw, path: /raw, envelope: Raw, greeting: {disabled: true}}
  - {name: auto, path: /auto, metadata: true, greeting: {disabled: true}, autoSubscribe: [{channel: 'feed:auto'}]}
  auth: {anonymous: Allow}
  channels:
  - {pattern: 'feed:{x}', subscribe: 'true', publish: 'true', filters: {kinds: kind}, history: {mode: Stream, size: 1000, ttl: 1h}}
  - {pattern: 'short:{x}', subscribe: 'true', history: {mode: Stream, size: 10, ttl: 1h}}
  - {pattern: 'values:{x}', subscribe: 'true', filters: {kinds: kind}, history: {mode: Cache, size: 10, ttl: 1h}}
  - {pattern: 'secret:{x}', subscribe: 'false', history: {mode: Stream}}
  - {pattern: 'plain:{x}', subscribe: 'true'}
";

fn serve(name: &str) -> Gateway {
    let path = std::env::temp_dir().join(format!("rtgw-recovery-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, MANIFEST).unwrap();
    let gateway = Gateway::serve(&path, &["--shards", "2"]);
    std::fs::remove_file(path).unwrap();
    gateway
}

/// Subscribes; gives the answer's data.
async fn subscribe(socket: &mut Socket, data: Value) -> Value {
    socket.send(&json!({"type": "subscribe", "id": 1, "data": data})).await;
    let answer = socket.json().await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("subscribed"), &json!(1)), "{answer}");
    answer["data"].clone()
}

fn publish(gateway: &Gateway, channel: &str, n: u64, kind: &str) {
    let body = json!({"channel": channel, "event": "e", "data": {"n": n}, "tags": {"kind": kind}});
    let answer = http::post(gateway.admin, "/v1/publish", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The numbers of the next publications, each with its offset.
async fn numbers(socket: &mut Socket, count: usize) -> Vec<(u64, u64)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let message = socket.json().await;
        assert_eq!(message["type"], "e", "{message}");
        heard.push((message["data"]["n"].as_u64().unwrap(), message["offset"].as_u64().unwrap()));
    }
    heard
}

/// Where the answer says that it stands.
fn place(data: &Value) -> Value {
    json!({"offset": data["offset"], "epoch": data["epoch"]})
}

#[tokio::test]
async fn what_was_published_meanwhile_follows_and_nothing_else() {
    let gateway = serve("meanwhile");
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let stood = subscribe(&mut socket, json!({"channel": "feed:a"})).await;
    assert_eq!((&stood["offset"], stood.get("recovered")), (&json!(0), None), "{stood}");
    for n in 1..=5 {
        publish(&gateway, "feed:a", n, "x");
    }
    let heard = numbers(&mut socket, 5).await;
    assert_eq!(heard, Vec::from_iter((1..=5).map(|n| (n, n))));
    drop(socket);
    for n in 6..=55 {
        publish(&gateway, "feed:a", n, if n % 5 == 0 { "y" } else { "x" });
    }
    let recover = json!({"offset": 5, "epoch": stood["epoch"]});
    let mut back = Socket::open(&gateway.url("/ws")).await;
    let answer = subscribe(&mut back, json!({"channel": "feed:a", "recover": recover})).await;
    assert_eq!(answer, json!({"channel": "feed:a", "offset": 5, "epoch": stood["epoch"], "recovered": true}));
    assert_eq!(numbers(&mut back, 50).await, Vec::from_iter((6..=55).map(|n| (n, n))));
    publish(&gateway, "feed:a", 56, "x");
    assert_eq!(numbers(&mut back, 1).await, [(56, 56)], "then what is published goes on");

    // Only what the filters want.
    let mut some = Socket::open(&gateway.url("/ws")).await;
    let wish = json!({"channel": "feed:a", "filters": {"kinds": ["y"]}, "recover": recover});
    assert_eq!(subscribe(&mut some, wish).await["recovered"], true);
    assert_eq!(numbers(&mut some, 10).await, Vec::from_iter((2..=11).map(|n| (n * 5, n * 5))));

    // Without metadata, as it was published.
    let mut raw = Socket::open(&gateway.url("/raw")).await;
    let wish = json!({"channel": "feed:a", "recover": {"offset": 54, "epoch": stood["epoch"]}});
    assert_eq!(subscribe(&mut raw, wish).await["recovered"], true);
    assert_eq!([raw.json().await, raw.json().await], [json!({"n": 55}), json!({"n": 56})]);
    assert_eq!(gateway.metric("rtgw_recoveries_total", r#"result="recovered""#), 3.0);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_said_and_the_position_is_where_it_goes_on() {
    let gateway = serve("trimmed");
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let stood = subscribe(&mut socket, json!({"channel": "short:a"})).await;
    drop(socket);
    for n in 1..=11 {
        publish(&gateway, "short:a", n, "x");
    }
    let mut back = Socket::open(&gateway.url("/ws")).await;
    let answer = subscribe(&mut back, json!({"channel": "short:a", "recover": place(&stood)})).await;
    assert_eq!(
        (&answer["recovered"], &answer["offset"]),
        (&json!(false), &json!(11)),
        "one too many was published"
    );
    publish(&gateway, "short:a", 12, "x");
    assert_eq!(numbers(&mut back, 1).await, [(12, 12)]);

    let reached = json!({"offset": 2, "epoch": stood["epoch"]});
    let again = subscribe(&mut back, json!({"channel": "short:a", "recover": reached})).await;
    assert_eq!(
        (&again["recovered"], &again["offset"]),
        (&json!(true), &json!(2)),
        "on the same connection, too"
    );
    assert_eq!(numbers(&mut back, 10).await, Vec::from_iter((3..=12).map(|n| (n, n))));
    let other = json!({"offset": 12, "epoch": "00000000000000aa"});
    let again = subscribe(&mut back, json!({"channel": "short:a", "recover": other})).await;
    assert_eq!((&again["recovered"], &again["offset"]), (&json!(false), &json!(12)));
    let ahead = json!({"offset": 13, "epoch": stood["epoch"]});
    let again = subscribe(&mut back, json!({"channel": "short:a", "recover": ahead})).await;
    assert_eq!(again["recovered"], false, "nobody was told of this one");
    let nowhere = subscribe(&mut back, json!({"channel": "short:a", "recover": {}})).await;
    assert_eq!(nowhere["recovered"], false);

    let kept = subscribe(&mut back, json!({"channel": "plain:a", "recover": place(&stood)})).await;
    assert_eq!(kept, json!({"channel": "plain:a", "recovered": false}));
    assert_eq!(gateway.metric("rtgw_recoveries_total", r#"result="unreachable""#), 4.0);
    assert_eq!(gateway.metric("rtgw_recoveries_total", r#"result="not_kept""#), 1.0);
}

#[tokio::test]
async fn current_values_come_to_who_asks_for_them() {
    let gateway = serve("values");
    for (n, kind) in [(1, "x"), (2, "y"), (3, "x"), (4, "z")] {
        publish(&gateway, "values:a", n, kind);
    }
    for recover in [json!({}), json!({"offset": 3, "epoch": "00000000000000aa"})] {
        let mut socket = Socket::open(&gateway.url("/ws")).await;
        let answer = subscribe(&mut socket, json!({"channel": "values:a", "recover": recover})).await;
        assert_eq!((&answer["recovered"], &answer["offset"]), (&json!(true), &json!(4)));
        assert_eq!(numbers(&mut socket, 3).await, [(2, 2), (3, 3), (4, 4)]);
    }
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let answer = subscribe(&mut socket, json!({"channel": "values:a"})).await;
    assert_eq!(
        (answer.get("recovered"), &answer["offset"]),
        (None, &json!(4)),
        "who does not ask is not given"
    );
    publish(&gateway, "values:a", 5, "x");
    assert_eq!(numbers(&mut socket, 1).await, [(5, 5)]);
    let answer = subscribe(&mut socket, json!({"channel": "values:a", "recover": {}})).await;
    assert_eq!(answer["recovered"], true);
    assert_eq!(numbers(&mut socket, 3).await, [(2, 2), (4, 4), (5, 5)]);
}

#[tokio::test]
async fn channels_of_the_endpoint_are_recovered_when_asked() {
    let gateway = serve("auto");
    for n in 1..=9 {
        publish(&gateway, "feed:auto", n, "x");
    }
    let page = http::get(gateway.admin, "/v1/history/feed:auto?limit=0").json();
    let recover = json!({"offset": 4, "epoch": page["epoch"]});
    let mut socket = Socket::open(&gateway.url("/auto")).await;
    let answer = subscribe(&mut socket, json!({"channel": "feed:auto", "recover": recover})).await;
    assert_eq!((&answer["recovered"], &answer["offset"]), (&json!(true), &json!(4)));
    assert_eq!(numbers(&mut socket, 5).await, Vec::from_iter((5..=9).map(|n| (n, n))));
}

/// Clients come and go while somebody publishes without a pause: each hears every offset once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_and_nothing_comes_twice_while_the_publisher_never_pauses() {
    const CLIENTS: usize = 200;
    const ROUNDS: usize = 4;
    let gateway = serve("concurrent");
    let (admin, url) = (gateway.admin, gateway.url("/ws"));
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let items: Vec<Value> = (0..20)
                    .map(|_| {
                        n += 1;
                        json!({"channel": "feed:busy", "event": "e", "data": {"n": n}})
                    })
                    .collect();
                let answer = http::post(admin, "/v1/batch", &json!({"publications": items}));
                assert_eq!(answer.status, 200, "{answer:?}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            n
        })
    };
    let client = |client: usize| {
        let url = url.clone();
        async move {
            let mut socket = Socket::open(&url).await;
            let stood = subscribe(&mut socket, json!({"channel": "feed:busy"})).await;
            let mut last = stood["offset"].as_u64().unwrap();
            for round in 0..ROUNDS {
                for (n, offset) in numbers(&mut socket, 3 + (client + round) % 17).await {
                    assert_eq!((n, offset), (last + 1, last + 1), "client {client}, round {round}");
                    last = offset;
                }
                drop(socket);
                socket = Socket::open(&url).await;
                let recover = json!({"offset": last, "epoch": stood["epoch"]});
                let answer =
                    subscribe(&mut socket, json!({"channel": "feed:busy", "recover": recover})).await;
                assert_eq!(answer["recovered"], true, "client {client}, round {round}: {answer}");
                assert_eq!(answer["offset"], last);
            }
            for (n, offset) in numbers(&mut socket, 30).await {
                assert_eq!((n, offset), (last + 1, last + 1), "client {client}, at last");
                last = offset;
            }
        }
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(client(number))).collect();
    for client in clients {
        client.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(publisher.join().unwrap() > 0);
    let recovered = gateway.metric("rtgw_recoveries_total", r#"result="recovered""#);
    assert_eq!(recovered, (CLIENTS * ROUNDS) as f64);
    assert_eq!(gateway.metric("rtgw_gaps_total", ""), 0.0);
}

#[tokio::test]
async fn histories_are_read_page_by_page_by_who_may_hear_the_channel() {
    let gateway = serve("pages");
    for n in 1..=25 {
        publish(&gateway, "feed:a", n, "x");
    }
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let mut ask = async |data: Value| {
        socket.send(&json!({"type": "history", "id": 7, "data": data})).await;
        let answer = socket.json().await;
        assert_eq!(answer["id"], 7, "{answer}");
        answer
    };
    let numbers = |page: &Value| -> Vec<u64> {
        let publications = page["data"]["publications"].as_array().unwrap();
        publications.iter().map(|publication| publication["data"]["n"].as_u64().unwrap()).collect()
    };
    let (mut since, mut pages, mut all) = (None, 0, Vec::new());
    loop {
        let page = ask(json!({"channel": "feed:a", "limit": 10, "since": since})).await;
        assert_eq!((&page["type"], &page["data"]["offset"]), (&json!("history"), &json!(25)), "{page}");
        all.extend(numbers(&page));
        pages += 1;
        since = page["data"]["next"].as_u64();
        if since.is_none() {
            break;
        }
    }
    assert_eq!((pages, all), (3, Vec::from_iter(1..=25)));
    let newest = ask(json!({"channel": "feed:a", "limit": 2, "reverse": true})).await;
    assert_eq!((numbers(&newest), &newest["data"]["next"]), (vec![25, 24], &json!(24)));
    let first = &newest["data"]["publications"][0];
    assert_eq!((&first["offset"], &first["channel"]), (&json!(25), &json!("feed:a")));
    assert_eq!(ask(json!({"channel": "secret:a"})).await["data"]["code"], "forbidden");
    assert_eq!(ask(json!({"channel": "plain:a"})).await["data"]["code"], "not_available");
    assert_eq!(ask(json!({"channel": "nowhere"})).await["data"]["code"], "unknown_channel");

    let mut speaker = Socket::open(&gateway.url("/ws")).await;
    let said = json!({"type": "publish", "data": {"channel": "feed:a", "event": "e", "data": {"n": 26}}});
    speaker.send(&said).await;
    assert_eq!(speaker.json_of_type("published").await["data"]["offset"], 26);
}

#[tokio::test]
async fn the_api_reads_histories_too() {
    let gateway = serve("api");
    for n in 1..=5 {
        publish(&gateway, "feed:a", n, "x");
    }
    let page = http::get(gateway.admin, "/v1/history/feed:a?limit=2").json();
    assert_eq!(
        (&page["channel"], &page["offset"], &page["next"]),
        (&json!("feed:a"), &json!(5), &json!("2"))
    );
    let first = &page["publications"][0];
    assert_eq!(
        (&first["data"], &first["offset"], &first["event"]),
        (&json!({"n": 1}), &json!(1), &json!("e"))
    );
    assert_eq!(first["tags"], json!({"kind": "x"}));
    let rest = http::get(gateway.admin, "/v1/history/feed:a?cursor=2").json();
    assert_eq!((rest["publications"].as_array().unwrap().len(), rest.get("next")), (3, None));
    let back = http::get(gateway.admin, "/v1/history/feed:a?cursor=3&reverse=true&limit=1").json();
    assert_eq!((&back["publications"][0]["offset"], &back["next"]), (&json!(2), &json!("2")));
    let status = |path: &str| http::get(gateway.admin, path).status;
    assert_eq!(status("/v1/history/secret:a"), 200, "the API's key decides, not the rule of clients");
    assert_eq!(status("/v1/history/plain:a"), 404);
    assert_eq!(status("/v1/history/nowhere"), 404);
    assert_eq!(status("/v1/history/feed:a?limit=1001"), 400);
    assert_eq!(status("/v1/history/feed:a?cursor=x"), 400);
}
