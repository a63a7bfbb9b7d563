//! The life of an identity after admission, on real sockets: it expires, is refreshed, judged anew after a reload, ordered about by
//! the application, and revoked. The whole gateway runs in the test's process, so that what the API will call can be called.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rtgw::control::{self, Control};
use rtgw::revocations::Revoked;
use rtgw::wiring::{Options, bind};
use rtgw_config::Checked;
use rtgw_crds::{Manifests, Text};
use rtgw_model::{Close, CloseCode, ErrorCode, Principal, Timestamp};
use serde_json::{Value, json};
use support::socket::Socket;
use support::{eventually, http};
use tokio_util::sync::CancellationToken;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// What expressions need on the threads that evaluate them.
const STACK_BYTES: usize = 8 << 20;

const HEAD: &str = "
endpoints:
- {name: ws, path: /ws, admit: '!has(claims.banned)'}
- {name: feed, path: /feed, autoSubscribe: [{channel: news}]}
auth:
  anonymous: Allow
  issuers: [{name: app, secretRef: {name: auth, key: jwt}}]
  identity: {tenant: 'has(claims.tenant) ? claims.tenant : null'}
";
const CHANNELS: &str = "
channels:
- {pattern: news, subscribe: 'true'}
- {pattern: 'room:{room}', subscribe: \"room in claims.rooms\", publish: 'true'}
- {pattern: closed, subscribe: 'false'}
";

fn checked(spec: &str) -> Checked {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let content = format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: test}}\nspec:\n{spec}---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: auth}}\nstringData: {{jwt: {KEY}}}\n"
    );
    match Manifests::read(&[Text { name: "test.yaml".into(), content }]).check(None) {
        Ok(accepted) => accepted.checked,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn seconds() -> f64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// A token good for so long.
fn token(ttl: Duration, mut claims: Value) -> String {
    claims.as_object_mut().unwrap().insert("exp".into(), json!(seconds() + ttl.as_secs_f64()));
    let key = jsonwebtoken::EncodingKey::from_secret(KEY.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn lasting(claims: Value) -> String {
    token(Duration::from_secs(600), claims)
}

/// A gateway with two shards.
struct Live {
    control: Control,
    public: SocketAddr,
    admin: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
}

impl Live {
    fn new(expiry: &str) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options =
            Options { listen: any, admin: any, redis: None, shards: Some(2), demo: false, pod_uid: None };
        let bound = bind(checked(&format!("{HEAD}{expiry}{CHANNELS}")), options).unwrap();
        let (public, admin) = (bound.public().unwrap(), bound.internal().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let (send, control) = std::sync::mpsc::channel();
        runtime.spawn(bound.serve(stop.clone(), move |control| send.send(control.clone()).unwrap()));
        let control = control.recv().unwrap();
        eventually("the gateway is ready", || {
            http::try_get(admin, "/readyz").filter(|answer| answer.status == 200)
        });
        Self { control, public, admin, runtime: Some(runtime), stop }
    }

    fn run<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(test)
    }

    async fn connect(&self, path: &str, token: &str) -> Socket {
        let mut socket = Socket::open(&format!("ws://{}{path}?token={token}", self.public)).await;
        assert_eq!(socket.json().await["type"], "connected");
        socket
    }

    /// Somebody in these rooms who hears `room:a`.
    async fn member(&self, user: &str, rooms: &[&str]) -> Socket {
        let mut socket =
            self.connect("/ws", &lasting(json!({"sub": user, "rooms": rooms, "tenant": "acme"}))).await;
        assert_eq!(
            ask(&mut socket, json!({"type": "subscribe", "data": {"channel": "room:a"}})).await["type"],
            "subscribed"
        );
        socket
    }

    fn publish(&self, channel: &str) {
        let answer = http::post(
            self.admin,
            "/v1/publish",
            &json!({"channel": channel, "event": "said", "data": channel}),
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Waits until the page of numbers says so; it may be a moment old.
    fn counts(&self, line: &str, expected: f64) {
        eventually(line, || {
            let page = http::get(self.admin, "/metrics").body;
            let found = page.lines().find_map(|known| known.strip_prefix(line));
            let value = found.map_or(0.0, |rest| rest.trim().parse::<f64>().unwrap());
            (value == expected).then_some(())
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn ask(socket: &mut Socket, command: Value) -> Value {
    socket.send(&command).await;
    socket.json().await
}

async fn refresh(socket: &mut Socket, token: &str) -> Value {
    ask(socket, json!({"type": "refresh", "id": 7, "data": {"token": token}})).await
}

async fn close_code(socket: &mut Socket) -> (u16, String) {
    let close = socket.closed().await.expect("a close with a code");
    (close.code.into(), close.reason.to_string())
}

/// Nothing waits before the answer to a ping.
async fn is_quiet(socket: &mut Socket) {
    assert_eq!(ask(socket, json!({"type": "ping"})).await["type"], "pong");
}

fn said(channel: &str) -> Value {
    json!([channel, "said"])
}

async fn heard(socket: &mut Socket) -> Value {
    let message = socket.json().await;
    json!([message["data"], message["type"]])
}

fn principal(user: &str, claims: &str) -> impl Fn(&Principal) -> Principal + Send + Sync + use<> {
    let (user, claims) = (user.to_owned(), claims.to_owned());
    move |known| Principal {
        user: user.as_str().into(),
        claims: claims.as_str().into(),
        expires: Some(Timestamp(4_000_000_000_000)),
        ..known.clone()
    }
}

#[test]
fn an_ending_token_is_announced_and_its_connection_closed_unless_refreshed() {
    let live = Live::new("  expiry: {warn: 1s, grace: 400ms}\n");
    live.run(async {
        let ttl = Duration::from_millis(1_800);
        let begun = Instant::now();
        let mut idle = live.connect("/ws", &token(ttl, json!({"sub": "ann"}))).await;
        let mut refreshes = live.connect("/ws", &token(ttl, json!({"sub": "ann"}))).await;
        let mut nobody = Socket::open(&format!("ws://{}/ws", live.public)).await;
        assert_eq!(nobody.json().await["type"], "connected");

        for socket in [&mut idle, &mut refreshes] {
            let told = socket.json().await;
            assert_eq!(told["type"], "token_expiring");
            let left = told["data"]["in_ms"].as_u64().unwrap();
            assert!((1..=1_000).contains(&left), "{told}");
            assert!(begun.elapsed() >= Duration::from_millis(700), "told after {:?}", begun.elapsed());
        }
        let before = seconds();
        let refreshed = refresh(&mut refreshes, &token(Duration::from_secs(60), json!({"sub": "ann"}))).await;
        assert_eq!((&refreshed["type"], &refreshed["id"]), (&json!("refreshed"), &json!(7)));
        let at: jiff::Timestamp = refreshed["data"]["expires_at"].as_str().unwrap().parse().unwrap();
        let left = at.as_millisecond() as f64 / 1000.0 - before;
        assert!((55.0..65.0).contains(&left), "{refreshed}");

        let (code, reason) = close_code(&mut idle).await;
        assert_eq!((code, reason.as_str()), (4401, "the token has expired"));
        assert!(begun.elapsed() >= ttl + Duration::from_millis(400), "closed after {:?}", begun.elapsed());
        assert!(begun.elapsed() < ttl + Duration::from_secs(5), "closed after {:?}", begun.elapsed());
        // The others stay, and are told nothing.
        is_quiet(&mut refreshes).await;
        is_quiet(&mut nobody).await;
        // A short token again, and now it is left to end.
        assert_eq!(
            refresh(&mut refreshes, &token(Duration::from_millis(300), json!({"sub": "ann"}))).await["type"],
            "refreshed"
        );
        assert_eq!(refreshes.json().await["type"], "token_expiring");
        assert_eq!(close_code(&mut refreshes).await.0, 4401);
        live.counts("rtgw_closes_total{endpoint=\"ws\",code=\"4401\",reason=\"token\"}", 2.0);
    });
}

#[test]
fn who_comes_with_little_time_left_is_told_after_the_greeting() {
    let live = Live::new("");
    live.run(async {
        let mut socket = live.connect("/ws", &token(Duration::from_secs(20), json!({"sub": "ann"}))).await;
        let told = socket.json().await;
        assert_eq!(told["type"], "token_expiring");
        assert!((10_000..=20_100).contains(&told["data"]["in_ms"].as_u64().unwrap()), "{told}");
        is_quiet(&mut socket).await;
    });
}

#[test]
fn a_refresh_of_another_identity_or_a_bad_one_changes_nothing() {
    let live = Live::new("");
    live.run(async {
        let mut socket = live.member("ann", &["a", "b"]).await;
        let of = |user: &str, tenant: &str| lasting(json!({"sub": user, "tenant": tenant, "rooms": []}));
        let mut banned = json!({"sub": "ann", "tenant": "acme", "rooms": []});
        banned["banned"] = json!(true);
        let cases = [
            (of("bob", "acme"), "identity_changed"),
            (of("ann", "other"), "identity_changed"),
            (lasting(json!({"sub": "ann", "rooms": []})), "identity_changed"),
            (lasting(banned), "forbidden"),
            (format!("{}x", of("ann", "acme")), "forbidden"),
            ("".into(), "forbidden"),
            ("a.b.c".into(), "forbidden"),
            ("x".repeat(20_000), "forbidden"),
        ];
        for (token, expected) in cases {
            let refused = refresh(&mut socket, &token).await;
            assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!(7)), "{refused}");
            assert_eq!(refused["data"]["code"], expected, "{refused}");
            assert!(token.is_empty() || !refused.to_string().contains(&token), "{refused}");
        }
        // It hears what it heard, and may what it might.
        live.publish("room:a");
        assert_eq!(heard(&mut socket).await, said("room:a"));
        assert_eq!(
            ask(&mut socket, json!({"type": "subscribe", "data": {"channel": "room:b"}})).await["type"],
            "subscribed"
        );
        // Nobody can become somebody.
        let mut nobody = Socket::open(&format!("ws://{}/ws", live.public)).await;
        nobody.json().await;
        assert_eq!(refresh(&mut nobody, &of("ann", "acme")).await["data"]["code"], "identity_changed");
    });
}

#[test]
fn a_refresh_takes_away_what_the_new_claims_do_not_allow_and_commands_keep_their_order() {
    let live = Live::new("");
    live.run(async {
        let mut socket = live.member("ann", &["a", "b"]).await;
        ask(&mut socket, json!({"type": "subscribe", "data": {"channel": "room:b"}})).await;
        let next = lasting(json!({"sub": "ann", "tenant": "acme", "rooms": ["b", "c"]}));
        // All at once: what stands behind the refresh is judged by the new claims.
        socket.send(&json!({"type": "refresh", "id": 1, "data": {"token": next}})).await;
        for (id, room) in [(2, "room:c"), (3, "room:a")] {
            socket.send(&json!({"type": "subscribe", "id": id, "data": {"channel": room}})).await;
        }
        let mut answers = Vec::new();
        for _ in 0..4 {
            let answer = socket.json().await;
            answers.push(json!([
                answer["type"],
                answer["id"],
                answer["data"]["channel"],
                answer["data"]["reason"],
                answer["data"]["code"]
            ]));
        }
        assert_eq!(
            json!(answers),
            json!([
                ["refreshed", 1, null, null, null],
                ["unsubscribed", null, "room:a", "permission_changed", null],
                ["subscribed", 2, "room:c", null, null],
                ["error", 3, null, null, "forbidden"],
            ])
        );
        for room in ["room:a", "room:b", "room:c"] {
            live.publish(room);
        }
        assert_eq!([heard(&mut socket).await, heard(&mut socket).await], [said("room:b"), said("room:c")]);
    });
}

#[test]
fn a_tightened_rule_takes_effect_on_live_subscriptions_and_nobody_else_notices() {
    let live = Live::new("");
    live.run(async {
        let mut insiders = Vec::new();
        let mut outsiders = Vec::new();
        for number in 0..20 {
            insiders.push(live.member(&format!("in{number}"), &["a", "vip"]).await);
            outsiders.push(live.member(&format!("out{number}"), &["a"]).await);
        }
        let mut reader = live.connect("/feed", &lasting(json!({"sub": "reader"}))).await;
        live.publish("room:a");
        let all = insiders.iter_mut().chain(&mut outsiders);
        for socket in all {
            assert_eq!(heard(socket).await, said("room:a"));
        }
        let tightened =
            CHANNELS.replace("room in claims.rooms", "room in claims.rooms && 'vip' in claims.rooms");
        let reloaded = Instant::now();
        live.control.reload(&checked(&format!(
            "{HEAD}{}",
            tightened.replace("pattern: news", "pattern: news, filters: {ids: id}")
        )));
        for socket in &mut outsiders {
            let told = socket.json().await;
            assert_eq!(told["type"], "unsubscribed");
            assert_eq!(told["data"], json!({"channel": "room:a", "reason": "permission_changed"}));
        }
        assert!(reloaded.elapsed() < Duration::from_secs(1), "took {:?}", reloaded.elapsed());
        live.publish("room:a");
        live.publish("news");
        for socket in &mut insiders {
            assert_eq!(heard(socket).await, said("room:a"), "nobody else notices");
        }
        assert_eq!(heard(&mut reader).await, said("news"));
        for socket in &mut outsiders {
            is_quiet(socket).await;
        }
        live.counts("rtgw_subscriptions{pattern=\"room:{room}\"}", 20.0);
        live.counts("rtgw_publications_total{source=\"api\",pattern=\"room:{room}\"}", 2.0);

        // A rule that moved and one that is gone.
        let moved = "channels:\n- {pattern: 'vip:{room}'}\n- {pattern: news, subscribe: 'true'}\n";
        live.control.reload(&checked(&format!("{HEAD}{moved}")));
        for socket in &mut insiders {
            assert_eq!(socket.json().await["data"]["reason"], "permission_changed");
        }
        live.publish("news");
        assert_eq!(heard(&mut reader).await, said("news"));
        live.counts("rtgw_subscriptions{pattern=\"room:{room}\"}", 0.0);
        live.counts("rtgw_subscriptions{pattern=\"news\"}", 1.0);
        let answer = ask(&mut insiders[0], json!({"type": "subscribe", "data": {"channel": "room:a"}})).await;
        assert_eq!(answer["data"]["code"], "unknown_channel");
    });
}

#[test]
fn the_application_subscribes_unsubscribes_renews_and_disconnects() {
    let live = Live::new("");
    live.run(async {
        let (mut ann, mut other, mut bob) = (
            live.member("ann", &["a"]).await,
            live.member("ann", &["a"]).await,
            live.member("bob", &["a"]).await,
        );
        // The rule would say no.
        assert_eq!(live.control.subscribe(control::user("ann"), "closed").await.unwrap(), 2);
        for socket in [&mut ann, &mut other] {
            let told = socket.json().await;
            assert_eq!(
                (&told["type"], &told["id"], &told["data"]),
                (&json!("subscribed"), &Value::Null, &json!({"channel": "closed"}))
            );
        }
        live.publish("closed");
        assert_eq!([heard(&mut ann).await, heard(&mut other).await], [said("closed"), said("closed")]);
        let unknown = live.control.subscribe(control::everyone(), "nowhere:1").await.unwrap_err();
        assert_eq!(unknown.code, ErrorCode::UnknownChannel);
        assert_eq!(
            live.control.unsubscribe(control::everyone(), "a b").await.unwrap_err().code,
            ErrorCode::BadRequest
        );
        // It outlives reloads and refreshes, which judge by rules.
        live.control.reload(&checked(&format!(
            "{HEAD}{}",
            CHANNELS.replace("subscribe: 'false'", "subscribe: user == 'x'")
        )));
        let next = lasting(json!({"sub": "ann", "tenant": "acme", "rooms": ["a"]}));
        assert_eq!(refresh(&mut ann, &next).await["type"], "refreshed");
        live.publish("closed");
        assert_eq!(heard(&mut ann).await, said("closed"));

        assert_eq!(live.control.unsubscribe(control::tenant("acme"), "room:a").await.unwrap(), 3);
        assert_eq!(heard(&mut other).await, said("closed"));
        for socket in [&mut ann, &mut other, &mut bob] {
            assert_eq!(socket.json().await["data"], json!({"channel": "room:a", "reason": "removed"}));
        }

        // New claims from the server; who is somebody else is left as it is.
        let claims = r#"{"sub":"ann","rooms":["z"]}"#;
        assert_eq!(live.control.renew(control::user("bob"), Arc::new(principal("ann", claims))).await, 0);
        assert_eq!(live.control.renew(control::user("ann"), Arc::new(principal("ann", claims))).await, 2);
        for socket in [&mut ann, &mut other] {
            let told = socket.json().await;
            assert_eq!((&told["type"], &told["id"]), (&json!("refreshed"), &Value::Null));
            let z = ask(socket, json!({"type": "subscribe", "data": {"channel": "room:z"}})).await;
            let a = ask(socket, json!({"type": "subscribe", "data": {"channel": "room:a"}})).await;
            assert_eq!((&z["type"], &a["data"]["code"]), (&json!("subscribed"), &json!("forbidden")));
        }

        let close = Close::new(CloseCode::Forbidden, "removed by the application");
        assert_eq!(live.control.disconnect(control::user("nobody"), close.clone()).await, 0);
        assert_eq!(live.control.disconnect(control::user("ann"), close).await, 2);
        for socket in [&mut ann, &mut other] {
            assert_eq!(close_code(socket).await, (4403, "removed by the application".to_owned()));
        }
        is_quiet(&mut bob).await;
    });
}

#[test]
fn what_is_revoked_is_closed_and_does_not_come_back() {
    let live = Live::new("");
    live.run(async {
        let now = seconds().floor() as i64;
        let of = |user: &str, jti: &str, iat: i64| {
            lasting(json!({"sub": user, "jti": jti, "iat": iat, "tenant": format!("of-{user}"), "rooms": []}))
        };
        let until = Timestamp((now + 600) * 1000);
        let (stolen, good) = (of("ann", "stolen", now), of("ann", "good", now));
        let (mut first, mut second) = (live.connect("/ws", &stolen).await, live.connect("/ws", &good).await);
        let mut nobody = Socket::open(&format!("ws://{}/ws", live.public)).await;
        nobody.json().await;
        assert_eq!(live.control.revoke(Revoked::Token("stolen".into()), until).await, Ok(1));
        assert_eq!(close_code(&mut first).await, (4401, "the token has been revoked".to_owned()));
        let refused = |token: &str| format!("ws://{}/ws?token={token}", live.public);
        let answer = Socket::try_open(&refused(&stolen), &[]).await.err().expect("revoked");
        let body: Value = serde_json::from_slice(answer.body().as_deref().unwrap()).unwrap();
        assert_eq!((answer.status().as_u16(), &body["error"]["code"]), (401, &json!("token_revoked")));
        // Neither by a refresh.
        assert_eq!(refresh(&mut second, &stolen).await["data"]["code"], "forbidden");
        is_quiet(&mut second).await;

        // Whatever the user was issued until now; what is issued later is good.
        let moment = Some(Timestamp(now * 1000));
        assert_eq!(live.control.revoke(Revoked::User("ann".into(), moment), until).await, Ok(1));
        assert_eq!(close_code(&mut second).await.0, 4401);
        assert!(Socket::try_open(&refused(&good), &[]).await.is_err());
        let mut third = live.connect("/ws", &of("ann", "new", now + 1)).await;
        let mut bob = live.connect("/ws", &of("bob", "b", now)).await;
        assert_eq!(live.control.revoke(Revoked::Tenant("of-bob".into(), None), until).await, Ok(1));
        assert_eq!(close_code(&mut bob).await.0, 4401);
        is_quiet(&mut third).await;
        let everyone = Revoked::Everyone(Timestamp((now + 2) * 1000));
        assert_eq!(live.control.revoke(everyone, until).await, Ok(1));
        assert_eq!(close_code(&mut third).await.0, 4401);
        // Who has no credential has nothing that could be revoked.
        is_quiet(&mut nobody).await;
    });
}
