//! The same on a manifest with captures, commands, publications, filters and two issuers, each with tenants of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::stage::{Client, FORGED, SECRET, WIRES, Wire, crossed, serve, signed, signed_with, until_heard};
use crate::support::gateway::Gateway;
use crate::support::http;

const KEY_A: &str = "key-of-issuer-a-0123456789abcdef-a";
const KEY_B: &str = "key-of-issuer-b-0123456789abcdef-b";
const A: &str = "https://a.test";
const B: &str = "https://b.test";

const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: crossings}
spec:
  endpoints:
  - name: ws
    path: /ws
    metadata: true
    autoSubscribe:
    - {channel: "user:{tenant}:{user}"}
    - {channel: "team:{tenant}:{claims.team}", when: has(claims.team)}
    - {channel: "admins:{tenant}", when: claims.role == 'admin'}
  auth:
    tokenFrom: [Query, Header, FirstMessage]
    issuers:
    - {name: a, algorithms: [HS256], secretRef: {name: keys, key: a}, issuer: "https://a.test"}
    - {name: b, algorithms: [HS256], secretRef: {name: keys, key: b}, issuer: "https://b.test"}
    identity: {tenant: "(claims.iss == 'https://a.test' ? 'a.' : 'b.') + claims.org"}
  channels:
  - {pattern: "user:{org}:{id}", subscribe: org == tenant && id == user}
  - {pattern: "team:{org}:{team}", subscribe: org == tenant && team == claims.team}
  - {pattern: "admins:{org}", subscribe: org == tenant && claims.role == 'admin'}
  - {pattern: "room:{org}:{room}", subscribe: org == tenant, publish: org == tenant, filters: {kinds: kind}}
  - {pattern: "deep:{org}:{path*}", subscribe: org == tenant, publish: org == tenant}
  commands:
    say: {publishTo: {channel: "room:{tenant}:{data.room}", event: "'said'"}}
    say_to: {publishTo: {channel: "room:{data.org}:{data.room}", event: "'said'", tags: {kind: data.kind}}}
    whisper: {publishTo: {channel: "deep:{data.org}:{data.path}", event: "'said'"}, ephemeral: true}
    last: {replyLatest: {channel: "room:{tenant}:{data.room}", event: "'said'", orElse: Any}}
    last_of: {replyLatest: {channel: "room:{data.org}:{data.room}", event: "'said'", tags: {kind: data.kind}, orElse: Any}}
    echo: {reply: {event: "'echo'", data: "{'user': user, 'tenant': tenant, 'data': data}"}}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {a: key-of-issuer-a-0123456789abcdef-a, b: key-of-issuer-b-0123456789abcdef-b}
"#;

fn claims(issuer: &str, sub: &str, org: &str) -> Value {
    json!({"iss": issuer, "sub": sub, "org": org})
}

fn with(mut claims: Value, members: &Value) -> Value {
    claims.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    claims
}

/// Ann of acme, who is in a room, a team and among the administrators; and eve, who is none of that.
struct Play {
    gateway: Gateway,
    victim: Client,
    attackers: Vec<Client>,
}

impl Play {
    async fn begin(manifest: &str, name: &str) -> Self {
        let gateway = serve(manifest, name, &[]);
        let ann = with(claims(A, "ann", "acme"), &json!({"team": "red", "role": "admin"}));
        let query = format!("token={}", signed(KEY_A, &ann));
        let mut victim = Client::open(&gateway, "the victim", Wire::Json, &query).await.unwrap();
        for channel in ["room:a.acme:lobby", "deep:a.acme:x:y"] {
            victim.send(&json!({"type": "subscribe", "data": {"channel": channel}})).await;
        }
        let own = json!({"type": "say", "room": "lobby", "kind": "k", "is": SECRET, "marker": "first"});
        victim.send(&own).await;
        until_heard(&mut victim, "first").await;
        Self { gateway, victim, attackers: Vec::new() }
    }

    async fn attacker(&mut self, name: &str, wire: Wire, token: &str) -> Result<&mut Client, u16> {
        let mut client = Client::open(&self.gateway, name, wire, &format!("token={token}")).await?;
        client.next().await;
        self.attackers.push(client);
        Ok(self.attackers.last_mut().unwrap())
    }

    async fn end(mut self) -> Vec<String> {
        let channels =
            ["user:a.acme:ann", "team:a.acme:red", "admins:a.acme", "room:a.acme:lobby", "deep:a.acme:x:y"];
        for channel in channels {
            let data = json!({"is": SECRET, "marker": format!("last in {channel}")});
            let body = json!({"channel": channel, "event": "told", "data": data, "tags": {"kind": "k"}});
            let answer = http::post(self.gateway.admin, "/v1/publish", &body);
            assert_eq!(answer.status, 200, "{answer:?}");
            until_heard(&mut self.victim, &format!("last in {channel}")).await;
        }
        crossed(&mut self.victim, &mut self.attackers).await
    }
}

/// Attempts of somebody who is connected: name, what is sent, what it is answered.
#[allow(clippy::too_many_lines, reason = "a table")]
fn commands() -> Vec<(&'static str, Value, &'static str)> {
    let subscribe = |channel: &str| json!({"type": "subscribe", "data": {"channel": channel}});
    let say_to = |org: &str, room: &str| json!({"type": "say_to", "data": {"org": org, "room": room, "kind": "k", "is": FORGED}});
    let last_of =
        |org: &str, room: &str| json!({"type": "last_of", "data": {"org": org, "room": room, "kind": "k"}});
    let publish = |channel: &str| json!({"type": "publish", "data": {"channel": channel, "event": "said", "data": {"is": FORGED}}});
    vec![
        ("another's own channel", subscribe("user:a.acme:ann"), "forbidden"),
        ("the administrators'", subscribe("admins:a.acme"), "forbidden"),
        ("another team's", subscribe("team:a.acme:red"), "forbidden"),
        ("another tenant's room", subscribe("room:a.acme:lobby"), "forbidden"),
        ("deeper", subscribe("deep:a.acme:x:y"), "forbidden"),
        ("deeper, the own tenant later", subscribe("deep:a.acme:a.evil:x"), "forbidden"),
        (
            "with a filter",
            json!({"type": "subscribe", "data": {"channel": "room:a.acme:lobby", "filters": {"kinds": ["k"]}}}),
            "forbidden",
        ),
        (
            "a filter's value as a channel",
            json!({"type": "subscribe", "data": {"channel": "room:a.evil:x", "filters": {"kinds": ["room:a.acme:lobby", "*", ""]}}}),
            "subscribed",
        ),
        (
            "a filter named like a capture",
            json!({"type": "subscribe", "data": {"channel": "room:a.evil:x", "filters": {"org": ["a.acme"]}}}),
            "unknown_filter",
        ),
        ("say to another tenant", say_to("a.acme", "lobby"), "forbidden"),
        ("say over a segment in the tenant", say_to("a.evil:x", "lobby"), "forbidden"),
        ("say over a segment in the room", say_to("a.evil", "x:../a.acme:lobby"), "published"),
        ("say to the encoded name of another", say_to("a%2Eacme", "lobby"), "forbidden"),
        ("say by an expression", say_to("{'a.acme'}", "lobby"), "forbidden"),
        (
            "say to no text",
            json!({"type": "say_to", "data": {"org": ["a.acme"], "room": "lobby", "is": FORGED}}),
            "bad_request",
        ),
        (
            "say as another",
            json!({"type": "say", "data": {"room": "lobby", "tenant": "a.acme", "user": "ann", "is": FORGED}}),
            "published",
        ),
        (
            "two segments in one value",
            json!({"type": "whisper", "data": {"org": "a.acme:x", "path": "y", "is": FORGED}}),
            "forbidden",
        ),
        (
            "deeper by a command",
            json!({"type": "whisper", "data": {"org": "a.acme", "path": "x:y", "is": FORGED}}),
            "forbidden",
        ),
        ("publish to another tenant's room", publish("room:a.acme:lobby"), "forbidden"),
        ("publish to another's own channel", publish("user:a.acme:ann"), "forbidden"),
        ("publish deeper", publish("deep:a.acme:x:y"), "forbidden"),
        ("latest of another tenant", last_of("a.acme", "lobby"), "forbidden"),
        ("latest over a segment", last_of("a.evil:x", "lobby"), "forbidden"),
        (
            "latest of the own, with a foreign name in it",
            json!({"type": "last", "data": {"room": "lobby", "org": "a.acme", "tenant": "a.acme"}}),
            "not_available",
        ),
        (
            "latest of a room over a segment",
            json!({"type": "last", "data": {"room": "../a.acme:lobby"}}),
            "not_available",
        ),
        (
            "an echo in another's name",
            json!({"type": "echo", "data": {"user": "ann", "tenant": "a.acme", "claims": {"org": "acme"}}}),
            "echo",
        ),
        (
            "under the victim's key",
            json!({"type": "publish", "data": {"channel": "room:a.acme:lobby", "event": "said", "data": FORGED, "idempotencyKey": "k"}}),
            "forbidden",
        ),
    ]
}

#[tokio::test]
async fn no_command_of_a_manifest_crosses_on_any_wire() {
    let mut play = Play::begin(MANIFEST, "own").await;
    let mut wrong = Vec::new();
    let eves = [
        ("of another tenant", signed(KEY_A, &claims(A, "eve", "evil"))),
        ("of the same name at another issuer", signed(KEY_B, &claims(B, "ann", "acme"))),
    ];
    for (who, token) in &eves {
        let own = if *who == "of another tenant" { "a.evil" } else { "b.acme" };
        for wire in WIRES {
            for (name, command, expected) in commands() {
                let attacker = play.attacker(&format!("{name}, {who}"), wire, token).await.unwrap();
                let command: Value = command.to_string().replace("a.evil", own).parse().unwrap();
                let answer = attacker.ask(&command).await;
                if answer != expected {
                    wrong.push(format!("{}: {command}: {answer}", attacker.name));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(play.end().await, [""; 0]);
}

/// Names of the victim's channels, put together from what stands in claims.
#[tokio::test]
async fn claims_put_no_segments_into_channels() {
    let mut play = Play::begin(MANIFEST, "claims").await;
    let eve = |members: Value| with(claims(A, "eve", "evil"), &members);
    let tries = [
        ("segments in the user", eve(json!({"sub": "x:../acme:ann"}))),
        ("segments in the tenant", eve(json!({"org": "acme:ann", "sub": "ann"}))),
        ("the victim's channel as a user", eve(json!({"sub": "user:a.acme:ann"}))),
        ("encoded", eve(json!({"org": "acme%3Aann"}))),
        ("braces", eve(json!({"org": "{'acme'}", "sub": "{user}"}))),
        ("double braces", eve(json!({"org": "{{acme}}", "sub": "{{ann}}"}))),
        ("team over a segment", eve(json!({"team": "x:red"}))),
        ("team as a list", eve(json!({"team": ["red"]}))),
        ("team as an object", eve(json!({"team": {"red": true}}))),
        ("team of another tenant", eve(json!({"team": "red"}))),
        ("role as a list", eve(json!({"role": ["admin"]}))),
        ("administrator of another tenant", eve(json!({"role": "admin"}))),
        ("user as a list", eve(json!({"sub": ["ann"], "org": "acme"}))),
        ("user as a number", eve(json!({"sub": 7, "org": "acme"}))),
        ("user empty", eve(json!({"sub": "", "org": "acme"}))),
        ("tenant as a list", eve(json!({"org": ["acme"]}))),
        ("tenant as an object", eve(json!({"org": {"acme": 1}}))),
        ("tenant over-long", eve(json!({"org": "acme".repeat(60)}))),
        (
            "names of expressions",
            eve(
                json!({"user": "ann", "tenant": "a.acme", "org.": "acme", "params": {"org": "a.acme", "id": "ann"}}),
            ),
        ),
        ("zero bytes", eve(json!({"org": "acme\u{0}", "sub": "ann\u{0}"}))),
        ("another normal form", eve(json!({"org": "ａcme", "sub": "ann"}))),
    ];
    for (name, claims) in tries {
        let came = play.attacker(name, Wire::Json, &signed(KEY_A, &claims)).await.map(|_| 101);
        let answer = came.unwrap_or_else(|status| status);
        assert!(matches!(answer, 101 | 4401 | 4403), "{name}: {answer}");
    }
    assert_eq!(play.end().await, [""; 0]);
}

#[tokio::test]
async fn an_issuer_speaks_for_its_own_tenants_and_is_asked_nowhere_by_a_token() {
    // Who follows an address in a token would come here.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let here = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let mut play = Play::begin(MANIFEST, "issuers").await;
    let plain = || Header::new(Algorithm::HS256);
    let ann = |issuer: &str| claims(issuer, "ann", "acme");
    let tries = [
        ("a's name under b's key", signed(KEY_B, &ann(A)), 4401),
        ("b's name under a's key", signed(KEY_A, &ann(B)), 4401),
        (
            "a's key named under b's",
            signed_with(&Header { kid: Some("a".into()), ..plain() }, KEY_B, &ann(A)),
            4401,
        ),
        ("both names", signed(KEY_B, &with(ann(B), &json!({"iss": [A, B]}))), 4401),
        ("a's name with a slash", signed(KEY_B, &ann("https://a.test/")), 4401),
        ("no name", signed(KEY_B, &json!({"sub": "ann", "org": "acme"})), 4401),
        (
            "address of keys in the header",
            signed_with(
                &Header { jku: Some(here.clone()), x5u: Some(here.clone()), ..plain() },
                "another-key-0123456789abcdef-0123",
                &ann(A),
            ),
            4401,
        ),
        ("address as the issuer", signed("another-key-0123456789abcdef-0123", &ann(&here)), 4401),
        (
            "address as a key's name",
            signed_with(
                &Header { kid: Some(here.clone()), ..plain() },
                "another-key-0123456789abcdef-0123",
                &ann(A),
            ),
            4401,
        ),
        (
            "address in claims",
            signed(KEY_B, &with(ann(B), &json!({"jku": here, "webhook": here, "url": here}))),
            101,
        ),
    ];
    for (name, token, expected) in tries {
        for wire in [Wire::Json, Wire::MessagePack] {
            let given = play.attacker(name, wire, &token).await.map_or_else(|status| status, |_| 101);
            assert_eq!(given, expected, "{name}");
        }
    }
    assert_eq!(play.end().await, [""; 0]);
    std::thread::sleep(Duration::from_millis(100));
    assert!(listener.accept().is_err(), "the gateway asked where a token told it to");
}

#[tokio::test]
async fn a_loosened_template_is_noticed() {
    let loose = MANIFEST.replace("subscribe: org == tenant && id == user", "subscribe: \"true\"");
    let mut play = Play::begin(&loose, "loose").await;
    let token = signed(KEY_B, &claims(B, "eve", "evil"));
    let attacker = play.attacker("another's own channel", Wire::MessagePack, &token).await.unwrap();
    let (_, command, _) = &commands()[0];
    assert_eq!(attacker.ask(command).await, "subscribed");
    assert_eq!(play.end().await, ["heard by another's own channel (MessagePack)"]);
}

#[test]
fn captures_shadow_nothing() {
    for name in
        ["claims", "user", "tenant", "connection", "now", "params", "channel", "event", "data", "args", "msg"]
    {
        let shadowed = MANIFEST.replace("\"team:{org}:{team}\"", &format!("\"team:{{org}}:{{{name}}}\""));
        let path =
            std::env::temp_dir().join(format!("rtgw-crossings-capture-{name}-{}.yaml", std::process::id()));
        std::fs::write(&path, shadowed).unwrap();
        let output = crate::support::gateway::rtgw().arg("check").arg("-f").arg(&path).output().unwrap();
        std::fs::remove_file(path).unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(64), "{name}: {said}");
        assert!(said.contains("spec.channels[1].pattern"), "{name}: {said}");
    }
}
