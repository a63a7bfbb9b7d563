//! Other credentials of Redis, under traffic between two pods.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Publisher;
use crate::stage::{KEY, Manifest, change, publish, with_keys};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::socket::Socket;

/// Two for the broker, for presence and for what pods tell each other; a source, and the lease of one that one pod reads; its reader.
const CONNECTIONS: usize = 2 * 8 + 1;

fn content(redis: &Redis, user: &str, password: &str) -> String {
    let spec = format!(
        "auth: {{anonymous: Allow}}\nendpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
         channels:\n- {{pattern: news, subscribe: 'true'}}\n- {{pattern: jobs, subscribe: 'true'}}\n\
         - {{pattern: alone, subscribe: 'true'}}\n\
         - {{pattern: kept, subscribe: 'true', history: {{mode: Stream, size: 10000, ttl: 10m}}}}\n\
         sources:\n- {{name: jobs, redisPubSub: {{channels: ['heard']}}, publish: [{{channels: [jobs], event: \"'n'\", data: msg}}]}}\n\
         - {{name: alone, ingest: OnePod, redisPubSub: {{channels: ['one']}}, publish: [{{channels: [alone], event: \"'n'\", data: msg}}]}}\n\
         redis: {{external: {{url: 'redis://{user}@{}', passwordRef: {{name: auth, key: redis}}}}}}",
        redis.address()
    );
    with_keys(&spec, &[("jwt", KEY), ("redis", password)])
}

/// Ids of the connections of `user`.
fn connections(redis: &Redis, user: &str) -> BTreeSet<String> {
    let list = redis.cli(&["CLIENT", "LIST"]);
    let of_user = list.lines().filter(|line| line.contains(&format!(" user={user} ")));
    of_user.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[track_caller]
fn all_connected(redis: &Redis, user: &str) -> BTreeSet<String> {
    eventually("everything is connected as this user", || {
        Some(connections(redis, user)).filter(|found| found.len() == CONNECTIONS)
    })
}

fn acl(redis: &Redis, user: &str, change: &[&str]) {
    let all = ["ACL", "SETUSER", user, "on", "~*", "&*", "+@all"];
    assert_eq!(redis.cli(&[&all[..], change].concat()), "OK");
}

async fn subscribed(gateway: &Gateway, channel: &str) -> Socket {
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.send(&json!({"type": "subscribe", "channel": channel})).await;
    socket.json_of_type("subscribed").await;
    socket
}

/// The clients of `channel` at both pods.
async fn clients(pods: &[Gateway; 2], channel: &str) -> [Socket; 2] {
    [subscribed(&pods[0], channel).await, subscribed(&pods[1], channel).await]
}

/// These numbers come, in their order, and nothing else.
async fn exactly(sockets: &mut [Socket; 2], numbers: std::ops::Range<u64>) {
    for number in numbers {
        for socket in &mut *sockets {
            let message = socket.json().await;
            assert_eq!((&message["type"], &message["data"]), (&json!("n"), &json!(number)), "{message}");
        }
    }
}

/// What a source brings, and nothing else.
async fn heard(redis: &Redis, name: &str, listeners: &str, sockets: &mut [Socket; 2], number: u64) {
    assert_eq!(redis.cli(&["PUBLISH", name, &number.to_string()]), listeners);
    exactly(sockets, number..number + 1).await;
}

async fn begun(redis: &Redis, name: &str, listeners: &str, sockets: &mut [Socket; 2]) {
    eventually("the source listens", || {
        (redis.cli(&["PUBSUB", "NUMSUB", name]).lines().last() == Some(listeners)).then_some(())
    });
    assert_eq!(redis.cli(&["PUBLISH", name, "0"]), listeners);
    for socket in sockets {
        assert_eq!(socket.json_of_type("n").await["data"], json!(0), "after the gap that begins a source");
    }
}

fn pods(redis: &Redis, name: &str) -> ([Manifest; 2], [Gateway; 2]) {
    let files =
        ["a", "b"].map(|pod| Manifest::new(&format!("{name}-{pod}"), &content(redis, "first", "one")));
    let pods = [files[0].serve(&[]), files[1].serve(&[])];
    (files, pods)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_and_a_user_of_redis_change_under_traffic_and_nobody_notices() {
    let redis = Redis::start();
    acl(&redis, "first", &[">one"]);
    let (files, pods) = pods(&redis, "credentials");
    let (mut news, mut kept) = (clients(&pods, "news").await, clients(&pods, "kept").await);
    let (mut jobs, mut alone) = (clients(&pods, "jobs").await, clients(&pods, "alone").await);
    begun(&redis, "heard", "2", &mut jobs).await;
    begun(&redis, "one", "1", &mut alone).await;
    let before = all_connected(&redis, "first");
    let of_a = Publisher::start(pods[0].admin, "news", Duration::from_millis(1));
    let of_b = Publisher::start(pods[1].admin, "kept", Duration::from_millis(1));

    // Redis takes both passwords while the pods change, one after the other; then the old one goes.
    acl(&redis, "first", &[">two"]);
    for (file, pod) in files.iter().zip(&pods) {
        change(file, pod, &content(&redis, "first", "two"));
        heard(&redis, "heard", "2", &mut jobs, 1).await;
    }
    acl(&redis, "first", &["<one"]);
    heard(&redis, "heard", "2", &mut jobs, 2).await;

    // The same with another user; then Redis closes what is still connected as the old one, which is nothing.
    acl(&redis, "second", &[">three"]);
    for (file, pod) in files.iter().zip(&pods) {
        change(file, pod, &content(&redis, "second", "three"));
    }
    assert_eq!(all_connected(&redis, "second"), before, "no connection was made anew");
    assert_eq!(redis.cli(&["ACL", "DELUSER", "first"]), "1");
    heard(&redis, "heard", "2", &mut jobs, 3).await;
    assert_eq!(redis.cli(&["PUBLISH", "one", "4"]), "1");
    for socket in &mut alone {
        assert_eq!(socket.json_of_type("n").await["data"], json!(4));
    }
    let (of_a, of_b) = (of_a.end(), of_b.end());
    assert!(of_a > 20 && of_b > 20, "{of_a} {of_b}");
    exactly(&mut news, 0..of_a).await;
    exactly(&mut kept, 0..of_b).await;
    assert_eq!(connections(&redis, "second"), before);
    for pod in &pods {
        assert_eq!(pod.metric("rtgw_closes_total", ""), 0.0);
        assert_eq!(pod.metric("rtgw_connections", ""), 4.0);
        for secret in ["three", "second"] {
            assert!(!pod.process.stderr().contains(secret), "{}", pod.process.stderr());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_ahead_of_redis_cuts_nobody_off() {
    let redis = Redis::start();
    acl(&redis, "first", &[">one"]);
    let (files, pods) = pods(&redis, "ahead");
    let (mut news, mut kept) = (clients(&pods, "news").await, clients(&pods, "kept").await);
    let mut jobs = clients(&pods, "jobs").await;
    begun(&redis, "heard", "2", &mut jobs).await;
    all_connected(&redis, "first");
    for (file, pod) in files.iter().zip(&pods) {
        change(file, pod, &content(&redis, "first", "two"));
    }
    let publish_all = |number: u64| {
        publish(pods[0].admin, "news", number);
        publish(pods[1].admin, "kept", number);
    };
    publish_all(0);
    exactly(&mut news, 0..1).await;
    exactly(&mut kept, 0..1).await;

    // Redis knows only the old password, and drops every connection: they come back with it.
    let gap = |channel: &str| json!({"channel": channel, "reason": "broker_reconnected"});
    let dropped = async |news: &mut [Socket; 2]| -> Vec<Value> {
        let killed: usize = redis.cli(&["CLIENT", "KILL", "USER", "first"]).parse().unwrap();
        assert!(killed >= CONNECTIONS - 1, "{killed}");
        let mut told = Vec::new();
        for socket in news {
            told.push(socket.json_of_type("gap").await["data"].take());
        }
        told
    };
    assert_eq!(dropped(&mut news).await, [gap("news"), gap("news")]);
    all_connected(&redis, "first");
    publish_all(1);
    exactly(&mut news, 1..2).await;
    exactly(&mut kept, 1..2).await;

    // Redis follows. Connections that live are told before long; without the old password they come back with the new one.
    acl(&redis, "first", &[">two", "<one"]);
    assert_eq!(dropped(&mut news).await, [gap("news"), gap("news")]);
    all_connected(&redis, "first");
    publish_all(2);
    exactly(&mut news, 2..3).await;
    exactly(&mut kept, 2..3).await;
    for pod in &pods {
        assert_eq!(pod.metric("rtgw_closes_total", ""), 0.0);
    }

    // Another place is refused, and everything goes on.
    let refused = || crate::stage::reloads(&pods[0], "refused");
    files[0].write(&content(&redis, "first", "two").replace("127.0.0.1", "localhost"));
    pods[0].process.signal("HUP");
    eventually("the reload is refused", || (refused() > 0).then_some(()));
    eventually("the log says why", || pods[0].process.stderr().contains("takes three stages").then_some(()));
    publish_all(3);
    exactly(&mut news, 3..4).await;
    exactly(&mut kept, 3..4).await;
}
