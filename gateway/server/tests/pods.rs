//! Two gateways with one Redis between them count and act as one, and each by itself while Redis is away.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits_support;
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use limits_support::{Caller, let_in, serve};
use serde_json::{Value, json};
use support::eventually;
use support::gateway::Gateway;
use support::http::{self, Answer};
use support::redis::Redis;
use support::socket::Socket;

const CENSUS: &str = "rtgw:default/limits:census:{limits}";
const CONTROL: &str = "rtgw:default/limits:control:{pods}";
const REVOKED: &str = "rtgw:default/limits:revoked:{list}";

/// A gateway at `redis` with these lines in its `spec`.
#[track_caller]
fn pod(name: &str, redis: &Redis, spec: &str) -> Gateway {
    serve(name, &format!("  redis: {{external: {{url: '{}'}}}}\n{spec}", redis.url()))
}

/// Two of them that know each other.
#[track_caller]
fn pods(name: &str, redis: &Redis, spec: &str) -> [Gateway; 2] {
    let pods = ["a", "b"].map(|which| pod(&format!("{name}-{which}"), redis, spec));
    together(redis, 2);
    pods
}

/// Waits until so many pods have told Redis of their counts, and hear each other.
#[track_caller]
fn together(redis: &Redis, count: usize) {
    eventually("the pods know each other", || {
        let heard = redis.cli(&["PUBSUB", "NUMSUB", CONTROL]);
        let there = redis.cli(&["ZCARD", "rtgw:default/limits:pods:{pods}"]).parse::<usize>().unwrap();
        let counted = redis.cli(&["SCARD", CENSUS]).parse::<usize>().unwrap();
        let all = heard.lines().last() == Some(&count.to_string()) && there >= count && counted >= count;
        all.then_some(())
    });
}

#[track_caller]
fn order(pod: &Gateway, path: &str, body: &Value) -> Answer {
    let answer = http::post(pod.admin, path, body);
    assert!(answer.status < 300, "{path} {body}: {answer:?}");
    answer
}

/// How many an order concerned, in all pods.
#[track_caller]
fn affected(pod: &Gateway, path: &str, body: &Value) -> u64 {
    let answer = order(pod, path, body).json();
    let expected = json!({"asked": 2, "answered": 2});
    assert_eq!((&answer["scope"], &answer["pods"]), (&json!("cluster"), &expected), "{answer}");
    answer["affected"].as_u64().unwrap()
}

fn decided(pod: &Gateway, by: &str) -> f64 {
    pod.metric("rtgw_limit_decisions_total", &format!("by=\"{by}\""))
}

fn messages(pod: &Gateway, result: &str) -> f64 {
    pod.metric("rtgw_control_messages_total", &format!("result=\"{result}\""))
}

async fn code(socket: &mut Socket) -> u16 {
    loop {
        match socket.json_or_close().await {
            Ok(_) => {}
            Err(close) => return close.unwrap().code.into(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_as_many_connections_as_it_may_in_all_pods_together() {
    let redis = Redis::start();
    let [a, b] = pods("users", &redis, "  limits: {user: {connections: 3}}");
    let ann = Caller::user("ann", "t");
    let (first, second) = (ann.enters(&a).await.0, ann.enters(&a).await.0);
    let third = ann.enters(&b).await.0;
    for pod in [&a, &b] {
        let refused = ann.refused(pod, 429, "user_limit").await;
        assert!((5..=15).contains(&refused.retry_after.unwrap()));
    }
    // Others are others, and who is refused by a rule takes nobody's place.
    let _bob = Caller::user("bob", "t").enters(&b).await;
    drop(second);
    for _ in 0..5 {
        Caller::with_claims(json!({"sub": "ann", "tenant": "t", "banned": true}))
            .refused(&b, 403, "forbidden")
            .await;
    }
    let fourth = let_in(&ann, &b).await;
    ann.refused(&a, 429, "user_limit").await;

    // However many come at once, and wherever.
    drop((first, third, fourth));
    let none = |pod: &Gateway, left: f64| pod.metric("rtgw_connections", "") == left;
    eventually("all have left", || (none(&a, 0.0) && none(&b, 1.0)).then_some(()));
    eventually("Redis knows", || {
        let fields = redis.cli(&[
            "EVAL",
            "local n = 0 for _, p in ipairs(redis.call('SMEMBERS', KEYS[1])) do \
            n = n + redis.call('HLEN', KEYS[1] .. ':' .. p) end return n",
            "1",
            CENSUS,
        ]);
        // Bob, and the serial of each pod.
        (fields == "3").then_some(())
    });
    let storm = join_all((0..60).map(|at| ann.enter(if at % 2 == 0 { &a } else { &b }))).await;
    let held: Vec<Socket> = storm.into_iter().filter_map(Result::ok).collect();
    assert_eq!(held.len(), 3);
    assert_eq!(decided(&a, "pod") + decided(&b, "pod"), 0.0, "all pods' counts decided");
    assert!(decided(&a, "all") > 0.0 && decided(&b, "all") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_gives_way_wherever_it_is() {
    let redis = Redis::start();
    let [a, b] = pods("oldest", &redis, "  limits: {user: {connections: 2, policy: CloseOldest}}");
    let ann = Caller::user("ann", "t");
    let mut first = ann.enters(&a).await.0;
    let mut second = ann.enters(&b).await.0;
    let mut third = ann.enters(&b).await.0;
    assert_eq!(code(&mut first).await, 4409);
    let mut fourth = ann.enters(&a).await.0;
    assert_eq!(code(&mut second).await, 4409);
    let fifth = ann.enters(&a).await.0;
    assert_eq!(code(&mut third).await, 4409);
    let sixth = ann.enters(&b).await.0;
    assert_eq!(code(&mut fourth).await, 4409);
    // A storm leaves as many as may be.
    let storm = join_all((0..40).map(|at| ann.enter(if at % 2 == 0 { &a } else { &b }))).await;
    let storm: Vec<Socket> = storm.into_iter().map(Result::unwrap).collect();
    eventually("the storm settles", || {
        (a.metric("rtgw_connections", "") + b.metric("rtgw_connections", "") == 2.0).then_some(())
    });
    // Counted where a connection ends, a moment after it gave its place back.
    let replaced = |pod: &Gateway| pod.metric("rtgw_closes_total", "code=\"4409\"");
    eventually("all others are replaced", || (replaced(&a) + replaced(&b) == 44.0).then_some(()));
    drop((fifth, sixth, storm));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_address_and_tenant_count_in_all_pods() {
    let redis = Redis::start();
    let spec = "  limits: {gateway: {connections: 4}, ip: {connections: 2}, tenant: {connections: 3}}";
    let [a, b] = pods("many", &redis, spec);
    let user = |at: u8, last: u8| Caller::user(&format!("u{at}"), "t").from(last);
    let _one = user(1, 1).enters(&a).await;
    let _two = user(2, 1).enters(&b).await;
    user(3, 1).refused(&a, 429, "ip_limit").await;
    let _three = user(3, 2).enters(&a).await;
    user(4, 3).refused(&b, 429, "tenant_limit").await;
    let anyone = Caller::anyone().from(3);
    let _four = anyone.enters(&b).await;
    for pod in [&a, &b] {
        assert!(Caller::anyone().from(4).refused(pod, 503, "gateway_full").await.retry_after.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_pod_gives_its_places_back_within_its_lease() {
    let redis = Redis::start();
    let [a, b] = pods("crash", &redis, "  limits: {user: {connections: 2}}");
    let ann = Caller::user("ann", "t");
    let _held = [ann.enters(&a).await, ann.enters(&a).await];
    ann.refused(&b, 429, "user_limit").await;
    a.process.signal("KILL");
    let killed = Instant::now();
    ann.refused(&b, 429, "user_limit").await;
    let _socket = let_in(&ann, &b).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(decided(&b, "pod"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_pod_decides_by_itself_and_nobody_waits() {
    let mut redis = Redis::start();
    let [a, b] = pods("away", &redis, "  limits: {user: {connections: 2}}");
    let (ann, eve) = (Caller::user("ann", "t"), Caller::user("eve", "t"));
    let (first, second) = (ann.enters(&a).await.0, ann.enters(&a).await.0);
    order(&b, "/v1/revoke", &json!({"user": "eve", "ttl": 600}));
    eve.refused(&a, 401, "token_revoked").await;

    redis.freeze();
    let mut slowest = Duration::ZERO;
    let mut held = Vec::new();
    for at in 0..20 {
        let asked = Instant::now();
        held.push(Caller::user(&format!("u{at}"), "t").enters(&b).await);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(decided(&b, "pod"), 20.0);
    // By its own counts: two here, too, and no more.
    held.extend([ann.enters(&b).await, ann.enters(&b).await]);
    ann.refused(&b, 429, "user_limit").await;
    for pod in [&a, &b] {
        eve.refused(pod, 401, "token_revoked").await;
    }
    // What cannot be kept says so, and holds here nevertheless.
    let answer = order(&b, "/v1/revoke", &json!({"user": "mallory", "ttl": 600}));
    assert_eq!(
        (answer.status, &answer.json()["kept"], &answer.json()["scope"]),
        (202, &json!(false), &json!("pod"))
    );
    Caller::user("mallory", "t").refused(&b, 401, "token_revoked").await;

    redis.thaw();
    eventually("the other pod knows", || {
        (redis.cli(&["ZCARD", REVOKED]) == "2" && a.metric("rtgw_revocations", "") == 2.0).then_some(())
    });
    Caller::user("mallory", "t").refused(&a, 401, "token_revoked").await;
    drop((first, second));
    all_count_again(&a, &b, &ann).await;

    // Redis begins again, and knows nothing.
    redis.restart();
    together(&redis, 2);
    all_count_again(&a, &b, &ann).await;
    eventually("the list is written back", || (redis.cli(&["ZCARD", REVOKED]) == "2").then_some(()));
    let late = pod("away-late", &redis, "  limits: {user: {connections: 2}}");
    eventually("the list is read", || (late.metric("rtgw_revocations", "") == 2.0).then_some(()));
    eve.refused(&late, 401, "token_revoked").await;
}

/// `held` has two connections at `b` and nobody may have a third, which only all pods' counts tell.
async fn all_count_again(a: &Gateway, b: &Gateway, held: &Caller) {
    eventually("all pods' counts decide again", || {
        let before = decided(a, "all");
        let answer = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { held.enter(a).await })
        });
        (decided(a, "all") > before && answer.is_err()).then_some(())
    });
    held.refused(b, 429, "user_limit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_reach_all_pods() {
    let redis = Redis::start();
    let [a, b] = pods("orders", &redis, "");
    let (ann, bob) = (Caller::user("ann", "t"), Caller::user("bob", "t"));
    let (mut here, mut there) = (ann.enters(&a).await.0, ann.enters(&b).await.0);
    let mut other = bob.enters(&b).await.0;

    assert_eq!(affected(&a, "/v1/subscribe", &json!({"tenant": "t", "channels": ["room:1", "room:2"]})), 6);
    for socket in [&mut here, &mut there, &mut other] {
        assert_eq!(socket.json_of_type("subscribed").await["data"]["channel"], "room:1");
        assert_eq!(socket.json_of_type("subscribed").await["data"]["channel"], "room:2");
    }
    let listed = http::get(b.admin, "/v1/channels?limit=1").json();
    assert_eq!(listed["channels"], json!([{"channel": "room:1", "subscribers": 3}]), "{listed}");
    assert_eq!((&listed["next"], &listed["scope"]), (&json!("room:1"), &json!("cluster")));
    let rest = http::get(b.admin, "/v1/channels?cursor=room:1").json();
    assert_eq!(rest["channels"], json!([{"channel": "room:2", "subscribers": 3}]));
    assert!(rest["next"].is_null());
    let own = http::get(a.admin, "/v1/channels?scope=pod").json();
    assert_eq!((&own["channels"][0]["subscribers"], &own["scope"]), (&json!(1), &json!("pod")));

    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = http::get(a.admin, &format!("/v1/connections?limit=2{cursor}")).json();
        let items = page["connections"].as_array().unwrap();
        ids.extend(items.iter().map(|one| one["connection_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((ids.len(), &ids), (3, &sorted));

    assert_eq!(affected(&b, "/v1/unsubscribe", &json!({"user": "ann", "channel": "room:2"})), 2);
    assert_eq!(affected(&b, "/v1/refresh", &json!({"user": "ann", "claims": {"sub": "ann", "x": 1}})), 2);
    let only_here = http::post(a.admin, "/v1/disconnect?scope=pod", &json!({"user": "bob"})).json();
    assert_eq!((&only_here["affected"], &only_here["scope"]), (&json!(0), &json!("pod")));
    assert_eq!(affected(&a, "/v1/disconnect", &json!({"user": "bob", "code": 4401})), 1);
    assert_eq!(code(&mut other).await, 4401);
    assert_eq!(affected(&a, "/v1/revoke", &json!({"user": "ann", "ttl": 600})), 2);
    for socket in [&mut here, &mut there] {
        assert_eq!(code(socket).await, 4401);
    }
    ann.refused(&b, 401, "token_revoked").await;

    // A pod that is not there any more is missed, and the answer says so.
    b.process.signal("KILL");
    let answer = order(&a, "/v1/disconnect", &json!({"user": "nobody"})).json();
    assert_eq!(answer["pods"], json!({"asked": 2, "answered": 1}), "{answer}");
    let wrong = http::post(a.admin, "/v1/subscribe", &json!({"user": "ann", "channel": "nothing"}));
    assert_eq!((wrong.status, &wrong.json()["error"]["code"]), (400, &json!("unknown_channel")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_cannot_know_what_is_revoked_does_as_it_is_told() {
    let mut redis = Redis::start();
    let known = pod("unknown-known", &redis, "");
    let eve = Caller::user("eve", "t");
    order(&known, "/v1/revoke", &json!({"user": "eve", "ttl": 600}));
    let written = redis.cli(&["ZRANGE", REVOKED, "0", "-1"]);
    assert_eq!(written, r#"{"user":"eve"}"#);
    redis.kill();

    let begin = |name: &str, when_unknown: &str| {
        let auth = format!("    revocation: {{whenUnknown: {when_unknown}}}\n");
        limits_support::begin(name, &auth, &format!("  redis: {{external: {{url: '{}'}}}}", redis.url()))
    };
    let strict = begin("unknown-strict", "Refuse");
    let refused = eve.refused(&strict, 503, "revocations_unknown").await;
    assert!(refused.retry_after.is_some());
    Caller::user("ann", "t").refused(&strict, 503, "revocations_unknown").await;
    let _anyone = Caller::anyone().enters(&strict).await;
    assert_eq!(strict.metric("rtgw_revocations_known", ""), 0.0);
    let lax = begin("unknown-lax", "Allow");
    let mut inside = eve.enters(&lax).await.0;
    // Who knew goes by what it knows.
    eve.refused(&known, 401, "token_revoked").await;

    // Back, and empty: the pod that knew writes the list back, and the others read it.
    redis.restart();
    assert_eq!(code(&mut inside).await, 4401);
    eventually("the strict pod knows", || (strict.metric("rtgw_revocations", "") == 1.0).then_some(()));
    eve.refused(&strict, 401, "token_revoked").await;
    let _ann = Caller::user("ann", "t").enters(&strict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_pod_has_sent_is_ignored_and_counted() {
    let redis = Redis::start();
    let [a, b] = pods("forged", &redis, "");
    let ann = Caller::user("ann", "t");
    let mut heard = listen(&redis).await;
    let mut first = ann.enters(&b).await.0;
    assert_eq!(affected(&a, "/v1/disconnect", &json!({"user": "ann"})), 1);
    assert_eq!(code(&mut first).await, 4403);
    let sealed = heard.recv().await.unwrap();

    let mut second = ann.enters(&b).await.0;
    let before = messages(&b, "accepted");
    let mut altered = sealed.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut newer = sealed.clone();
    newer[0] = 2;
    let mut publish = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let large = vec![1_u8; 1024 * 1024 + 1];
    for bytes in [&sealed, &altered, &newer, &large, &b"disconnect ann".to_vec(), &Vec::new()] {
        redis::cmd("PUBLISH").arg(CONTROL).arg(bytes).exec(&mut publish).unwrap();
    }
    for (result, count) in
        [("replayed", 1.0), ("forged", 1.0), ("version", 2.0), ("too_large", 1.0), ("malformed", 1.0)]
    {
        eventually(result, || (messages(&b, result) == count).then_some(()));
    }
    assert_eq!(messages(&b, "accepted"), before);
    second.send(&json!({"type": "ping"})).await;
    second.json_of_type("pong").await;
    // A gateway with other secrets, or of another name, is another gateway.
    assert_eq!(affected(&a, "/v1/disconnect", &json!({"user": "ann"})), 1);
    assert_eq!(code(&mut second).await, 4403);
}

/// What is said to all pods.
async fn listen(redis: &Redis) -> tokio::sync::mpsc::Receiver<Vec<u8>> {
    let (send, receive) = tokio::sync::mpsc::channel(64);
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let (ready, subscribed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut subscription = connection.as_pubsub();
        subscription.subscribe(CONTROL).unwrap();
        ready.send(()).unwrap();
        while let Ok(message) = subscription.get_message() {
            if send.blocking_send(message.get_payload_bytes().to_vec()).is_err() {
                return;
            }
        }
    });
    subscribed.await.unwrap();
    receive
}
