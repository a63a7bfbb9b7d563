//! Every way across workspaces that a client could try, each named, with a victim that listens.
//!
//! An attempt is judged by its answer and by what was heard in the end: no attacker hears what the victim is told, and the victim hears
//! nothing of an attacker's. The same attempts on a loosened manifest must be found out, which keeps this test able to fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, unreachable_pub)]

mod issuers;
mod refreshes;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use stage::{Client, FORGED, SECRET, WIRES, Wire, crossed, serve, signed, until_heard};
use support::gateway::Gateway;
use support::redis::Redis;
use support::{eventually, root};

const KEY: &str = "for-trying-out-only-0123456789abcdef";

fn manifest() -> String {
    std::fs::read_to_string(root().join("examples/workspace-analytics/gateway.yaml")).unwrap()
}

fn token(claims: &Value) -> String {
    signed(KEY, claims)
}

/// Who belongs to the workspace w2 and wants to hear w1.
fn member() -> Value {
    json!({"sub": "eve", "workspace_id": "w2", "workspaces": ["w3"]})
}

/// Attempts at the handshake: name, what is put behind the own token in the query, and the answer; 101 where nothing foreign is asked.
const QUERIES: &[(&str, &str, u16)] = &[
    ("foreign", "workspace_id=w1", 403),
    ("foreign, percent-encoded", "workspace_id=%77%31", 403),
    ("foreign, name percent-encoded", "workspace%5Fid=w1", 403),
    ("encoded twice", "workspace_id=%2577%2531", 403),
    ("repeated, foreign first", "workspace_id=w1&workspace_id=w2", 403),
    ("repeated, foreign last", "workspace_id=w2&workspace_id=w1", 101),
    ("repeated under an encoded name", "workspace_id=w2&workspace%5Fid=w1", 101),
    ("empty first", "workspace_id=&workspace_id=w1", 403),
    ("as a list", "workspace_id[]=w1", 101),
    ("name of another case", "WORKSPACE_ID=w1", 101),
    ("separated by a semicolon", "workspace_id=w2;workspace_id=w1", 403),
    ("several in one", "workspace_id=w2,w1", 403),
    ("behind a zero byte", "workspace_id=w2%00w1", 403),
    ("before a zero byte", "workspace_id=w1%00", 403),
    ("behind a line end", "workspace_id=w2%0d%0aw1", 403),
    ("with a blank", "workspace_id=w1%20", 403),
    ("another case", "workspace_id=W1", 403),
    ("full-width letter", "workspace_id=%EF%BD%971", 403),
    ("full-width digit", "workspace_id=w%EF%BC%91", 403),
    ("invisible joiner", "workspace_id=w%E2%80%8D1", 403),
    ("overlong UTF-8", "workspace_id=%C1%B71", 403),
    ("half a percent escape", "workspace_id=w1%", 403),
    ("a path", "workspace_id=w2/../w1", 403),
    ("another segment", "workspace_id=w2:w1", 403),
    ("another segment, encoded", "workspace_id=w2%3Aw1", 403),
    ("a wildcard", "workspace_id=*", 403),
    ("a capture", "workspace_id={workspace_id}", 403),
    ("an expression", "workspace_id={'w'%2B'1'}", 403),
    ("end of the expression", "workspace_id='%20||%20true%20||%20'", 403),
    (
        "other parameters",
        "workspace=w1&tenant=w1&user=ann&claims=w1&channel=workspace:w1&channels=workspace:w1",
        101,
    ),
    ("the victim's connection", "connection_id=VICTIM&sid=VICTIM&id=VICTIM&resume=VICTIM", 101),
    ("claims in the query", "claims.workspace_id=w1&claims[workspace_id]=w1", 101),
    ("a second token", "token=x", 400),
    ("a second token under another name", "access_token=x", 400),
];

/// Claims of other shapes than the manifest expects, as an application's sign-up might let somebody choose them.
fn hostile_claims() -> Vec<(&'static str, Value, &'static str)> {
    let eve = |members: Value| {
        let mut claims = json!({"sub": "eve"});
        claims.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        claims
    };
    vec![
        ("list", eve(json!({"workspace_id": ["w1"]})), ""),
        ("object", eve(json!({"workspace_id": {"w1": 1}})), ""),
        ("number", eve(json!({"workspace_id": 1})), ""),
        ("truth", eve(json!({"workspace_id": true})), ""),
        ("null", eve(json!({"workspace_id": null})), "workspace_id=w1"),
        ("none", eve(json!({})), "workspace_id=w1"),
        ("empty", eve(json!({"workspace_id": ""})), ""),
        ("segments", eve(json!({"workspace_id": "w2:w1"})), ""),
        ("encoded", eve(json!({"workspace_id": "%771"})), ""),
        ("braces", eve(json!({"workspace_id": "{'w1'}"})), ""),
        ("capture", eve(json!({"workspace_id": "{workspace_id}"})), ""),
        ("zero byte", eve(json!({"workspace_id": "w1\u{0}"})), ""),
        ("full-width", eve(json!({"workspace_id": "ｗ1"})), ""),
        ("over-long", eve(json!({"workspace_id": "w".repeat(500)})), ""),
        ("text for a list", eve(json!({"workspace_id": "w2", "workspaces": "w1"})), "workspace_id=w1"),
        ("text around it", eve(json!({"workspace_id": "w2", "workspaces": "w1,w2"})), "workspace_id=w1"),
        ("list in a list", eve(json!({"workspace_id": "w2", "workspaces": [["w1"]]})), "workspace_id=w1"),
        ("wildcard", eve(json!({"workspace_id": "*", "workspaces": ["*", "w*", ""]})), "workspace_id=w1"),
        (
            "names of captures",
            eve(
                json!({"workspace_id": "w2", "params": {"workspace_id": "w1"}, "tenant": "w1", "user": "ann"}),
            ),
            "workspace_id=w1",
        ),
        (
            "claims in claims",
            eve(json!({"workspace_id": "w2", "claims": {"workspace_id": "w1", "workspaces": ["w1"]}})),
            "workspace_id=w1",
        ),
    ]
}

/// Attempts by somebody who is connected as a member of w2: name, what is sent, and what it is answered.
#[allow(clippy::too_many_lines, reason = "a table")]
fn commands(victim: &str) -> Vec<(&'static str, Value, &'static str)> {
    let subscribe = |channel: &str| json!({"type": "subscribe", "data": {"channel": channel}});
    let publish = |channel: &str| json!({"type": "publish", "data": {"channel": channel, "event": "alert", "data": {"is": FORGED}}});
    let metrics = |members: Value| {
        let mut command = json!({"type": "request_metrics", "metric_type": "executions"});
        command.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        command
    };
    vec![
        ("foreign channel", subscribe("workspace:w1"), "forbidden"),
        ("at the top level", json!({"type": "subscribe", "channel": "workspace:w1"}), "forbidden"),
        ("percent-encoded", subscribe("workspace:%77%31"), "forbidden"),
        ("partly encoded", subscribe("workspace:w%31"), "forbidden"),
        ("encoded separator", subscribe("workspace%3Aw1"), "unknown_channel"),
        ("behind the own", subscribe("workspace:w2:w1"), "unknown_channel"),
        ("wildcard", subscribe("workspace:*"), "bad_request"),
        ("capture", subscribe("workspace:{workspace_id}"), "bad_request"),
        ("zero byte", subscribe("workspace:w1\u{0}"), "bad_request"),
        ("full-width", subscribe("workspace:ｗ1"), "bad_request"),
        ("another case", subscribe("WORKSPACE:w1"), "unknown_channel"),
        ("empty segment", subscribe("workspace::w1"), "bad_request"),
        ("over-long", subscribe(&format!("workspace:{}", "w1".repeat(200))), "bad_request"),
        ("as a list", json!({"type": "subscribe", "data": {"channel": ["workspace:w1"]}}), "bad_request"),
        ("several", json!({"type": "subscribe", "data": {"channels": ["workspace:w1"]}}), "unknown_filter"),
        ("Redis channel", subscribe("rtgw:workspace:w1"), "unknown_channel"),
        (
            "Redis channel of a gateway",
            subscribe("rtgw:default/workspace-analytics:p:workspace:w1"),
            "bad_request",
        ),
        ("filter by workspace", json!({"type": "subscribe", "workspace_id": ["w1"]}), "unknown_filter"),
        ("filter by channel", json!({"type": "subscribe", "data": {"workspaces": ["w1"]}}), "unknown_filter"),
        (
            "events named like it",
            json!({"type": "subscribe", "event_types": ["workspace:w1", "alert"]}),
            "subscribed",
        ),
        (
            "events of a foreign channel",
            json!({"type": "subscribe", "data": {"channel": "workspace:w1", "event_types": ["alert"]}}),
            "forbidden",
        ),
        (
            "recovery",
            json!({"type": "subscribe", "data": {"channel": "workspace:w1", "recover": {"offset": 0, "epoch": "0000000000000000"}}}),
            "forbidden",
        ),
        ("its history", json!({"type": "history", "data": {"channel": "workspace:w1"}}), "forbidden"),
        ("its members", json!({"type": "presence", "data": {"channel": "workspace:w1"}}), "forbidden"),
        (
            "leave for the victim",
            json!({"type": "unsubscribe", "data": {"channel": "workspace:w1", "connection_id": victim}}),
            "unsubscribed",
        ),
        (
            "as the victim's connection",
            json!({"type": "subscribe", "connection_id": victim, "data": {"channel": "workspace:w1", "connection_id": victim, "user": "ann"}}),
            "forbidden",
        ),
        ("publish to a foreign channel", publish("workspace:w1"), "forbidden"),
        ("publish to the own", publish("workspace:w2"), "forbidden"),
        ("publish encoded", publish("workspace:%771"), "forbidden"),
        (
            "publish to several",
            json!({"type": "publish", "data": {"channels": ["workspace:w1"], "event": "alert", "data": FORGED}}),
            "bad_request",
        ),
        (
            "publish under the victim's key",
            json!({"type": "publish", "data": {"channel": "workspace:w1", "event": "alert", "data": FORGED, "idempotencyKey": "k"}}),
            "forbidden",
        ),
        ("foreign metrics", metrics(json!({"workspace_id": "w1", "tenant": "w1"})), "not_available"),
        ("foreign metrics by channel", metrics(json!({"channel": "workspace:w1"})), "not_available"),
        (
            "foreign metrics by claims",
            metrics(
                json!({"claims": {"workspace_id": "w1"}, "connection": {"query": {"workspace_id": "w1"}}}),
            ),
            "not_available",
        ),
        (
            "foreign metrics in data",
            json!({"type": "request_metrics", "data": {"metric_type": "executions", "tenant": "w1", "workspace_id": "w1"}}),
            "not_available",
        ),
        (
            "metrics of an injected kind",
            json!({"type": "request_metrics", "metric_type": "executions'} || {'workspace_id': 'w1"}),
            "not_available",
        ),
        (
            "metrics of a kind that is no text",
            json!({"type": "request_metrics", "metric_type": {"tenant": "w1"}}),
            "not_available",
        ),
        (
            "a foreign envelope",
            json!({"type": "workspace:w1", "event": "alert", "data": FORGED}),
            "unknown_type",
        ),
        (
            "a server's message",
            json!({"type": "subscribed", "data": {"channel": "workspace:w1"}}),
            "unknown_type",
        ),
        (
            "a second auth",
            json!({"type": "auth", "data": {"token": token(&json!({"sub": "eve", "workspace_id": "w1"}))}}),
            "unknown_type",
        ),
    ]
}

/// A member of w1 that listens, and what others do meanwhile.
struct Play {
    redis: Redis,
    gateway: Gateway,
    victim: Client,
    victim_id: String,
    attackers: Vec<Client>,
}

impl Play {
    async fn begin(manifest: &str, name: &str) -> Self {
        let redis = Redis::start();
        let gateway = serve(manifest, name, &["--redis", &redis.url()]);
        eventually("the source listens", || (redis.cli(&["PUBSUB", "NUMPAT"]) != "0").then_some(()));
        let claims = json!({"sub": "ann", "workspace_id": "w1"});
        let query = format!("token={}", token(&claims));
        let mut victim = Client::open(&gateway, "the victim", Wire::Json, &query).await.unwrap();
        let greeting = victim.next().await.unwrap();
        let victim_id = greeting["connection_id"].as_str().unwrap().to_owned();
        let mut play = Self { redis, gateway, victim, victim_id, attackers: Vec::new() };
        // There is something to steal from the start.
        play.tell("metrics_update", "first").await;
        play
    }

    /// The application tells w1 something.
    async fn tell(&mut self, event: &str, marker: &str) {
        let data = json!({"metric_type": "executions", "is": SECRET, "marker": marker});
        self.redis.cli(&["PUBLISH", "workspace:w1", &json!({"event": event, "data": data}).to_string()]);
        until_heard(&mut self.victim, marker).await;
    }

    async fn attacker(&mut self, name: &str, wire: Wire, claims: &Value, query: &str) -> u16 {
        let query = format!("token={}&{}", token(claims), query.replace("VICTIM", &self.victim_id));
        match Client::open(&self.gateway, name, wire, &query).await {
            Ok(client) => {
                self.attackers.push(client);
                101
            }
            Err(status) => status,
        }
    }

    /// What crossed, once the application has told w1 more.
    async fn end(mut self) -> Vec<String> {
        for event in ["metrics_update", "alert"] {
            self.tell(event, &format!("last-{event}")).await;
        }
        crossed(&mut self.victim, &mut self.attackers).await
    }
}

/// The close code in place of a status for those who offer a subprotocol.
fn as_close(status: u16) -> u16 {
    match status {
        401 => 4401,
        403 => 4403,
        400 => 1002,
        other => other,
    }
}

#[tokio::test]
async fn no_handshake_crosses() {
    let mut play = Play::begin(&manifest(), "handshakes").await;
    let mut wrong = Vec::new();
    for (name, query, status) in QUERIES {
        for wire in WIRES {
            let given = play.attacker(name, wire, &member(), query).await;
            if given != as_close(*status) {
                wrong.push(format!("{name}: {query} ({wire:?}): {given}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    let long = format!("workspace_id={}", "w1".repeat(2000));
    assert_eq!(play.attacker("over-long", Wire::Json, &member(), &long).await, 4403);
    for (name, claims, query) in hostile_claims() {
        let given = play.attacker(name, Wire::Json, &claims, query).await;
        // Some odd workspaces are somebody's own; none is the victim's.
        let own = query.is_empty() && claims["workspace_id"].as_str().is_some_and(|own| !own.is_empty());
        assert!(matches!(given, 4401 | 4403) || own && given == 101, "{name}: {given}");
    }
    assert!(play.attackers.len() > 20, "{}", play.attackers.len());
    assert_eq!(play.end().await, [""; 0]);
}

#[tokio::test]
async fn no_command_crosses_on_any_wire() {
    let mut play = Play::begin(&manifest(), "commands").await;
    let mut wrong = Vec::new();
    for wire in WIRES {
        for (name, command, expected) in commands(&play.victim_id.clone()) {
            assert_eq!(play.attacker(name, wire, &member(), "").await, 101);
            let attacker = play.attackers.last_mut().unwrap();
            attacker.next().await;
            let answer = attacker.ask(&command).await;
            if answer != expected {
                wrong.push(format!("{}: {command}: {answer}", attacker.name));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(play.end().await, [""; 0]);
}

#[tokio::test]
async fn members_written_twice_are_checked_as_they_are_used() {
    let mut play = Play::begin(&manifest(), "twice").await;
    for text in [
        r#"{"type":"subscribe","data":{"channel":"workspace:w2","channel":"workspace:w1"}}"#,
        r#"{"type":"subscribe","data":{"channel":"workspace:w1","channel":"workspace:w2"}}"#,
        r#"{"type":"subscribe","data":{"channel":"workspace:w2"},"data":{"channel":"workspace:w1"}}"#,
        r#"{"type":"subscribe","data":{"channel":"workspace:w2"},"channel":"workspace:w1"}"#,
        r#"{"type":"ping","type":"subscribe","data":{"channel":"workspace:w1"}}"#,
        r#"{"type":"subscribe","data":{"channel":"workspace:w\u0031"}}"#,
        r#"[{"type":"subscribe","data":{"channel":"workspace:w1"}}]"#,
        "{\"type\":\"subscribe\",\"data\":{\"channel\":\"workspace:w1\"}}\n{\"type\":\"subscribe\",\"data\":{\"channel\":\"workspace:w1\"}}",
    ] {
        assert_eq!(play.attacker(text, Wire::Json, &member(), "").await, 101);
        let attacker = play.attackers.last_mut().unwrap();
        attacker.send_message(text.into()).await;
        attacker.catch_up().await;
    }
    assert_eq!(play.end().await, [""; 0]);
}

/// The rules of this test are able to fail: where the manifest lets others in, exactly that is found.
#[tokio::test]
async fn a_loosened_rule_is_noticed() {
    let strict = "subscribe: claims.workspace_id == workspace_id || workspace_id in claims.workspaces";
    let loose = manifest().replace(strict, "subscribe: \"true\"\n    publish: \"true\"");
    assert!(!loose.contains(strict));
    let mut play = Play::begin(&loose, "loosened").await;
    play.attacker("foreign", Wire::MessagePack, &member(), "workspace_id=w1").await;
    for name in ["foreign channel", "publish to a foreign channel"] {
        play.attacker(name, Wire::Batches, &member(), "").await;
        let tries = commands(&play.victim_id.clone());
        let (_, command, _) = tries.iter().find(|(tried, ..)| *tried == name).unwrap();
        play.attackers.last_mut().unwrap().ask(command).await;
    }
    play.attacker("who only listens", Wire::Json, &member(), "").await;
    let crossings = play.end().await;
    assert_eq!(crossings.len(), 3, "{crossings:?}");
    assert_eq!(crossings[..2], ["heard by foreign (MessagePack)", "heard by foreign channel (Batches)"]);
    assert!(crossings[2].starts_with("told to the victim:"), "{crossings:?}");
}
