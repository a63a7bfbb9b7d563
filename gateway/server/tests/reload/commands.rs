//! Commands over reloads: names, what they do, and what they remember.

use std::time::Instant;

use serde_json::{Value, json};

use crate::stage::{ISSUER, KEY, Manifest, change, manifest, token};
use crate::support::gateway::Gateway;
use crate::support::socket::Socket;
use crate::support::{PATIENCE, eventually, http};

const LAST: &str =
    "last: {replyLatest: {channel: 'room:{data.room}', event: \"'state'\", tags: {kind: data.kind}}}";

fn spec(commands: &[&str]) -> String {
    manifest(&format!(
        "{ISSUER}endpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
         channels: [{{pattern: 'room:{{id}}', subscribe: \"user != ''\"}}, {{pattern: 'log:{{id}}', subscribe: \"user != ''\", publish: \"user != ''\"}}]\n\
         commands: {{{}}}\nlimits: {{connection: {{messagesPerSecond: 1000}}}}",
        commands.join(", ")
    ))
}

async fn open(gateway: &Gateway) -> Socket {
    Socket::open(&format!("{}?token={}", gateway.url("/ws"), token(KEY, json!({"sub": "ann"})))).await
}

/// The answer to a command: its type and its data, or the code of the refusal.
async fn ask(socket: &mut Socket, command: Value) -> (String, Value) {
    let mut command = command;
    command["id"] = json!("q");
    socket.send(&command).await;
    loop {
        let answer = socket.json().await;
        if answer["id"] == "q" {
            let kind = answer["type"].as_str().unwrap().to_owned();
            return if kind == "error" {
                (kind, answer["data"]["code"].clone())
            } else {
                (kind, answer["data"].clone())
            };
        }
    }
}

fn refused(code: &str) -> (String, Value) {
    ("error".to_owned(), json!(code))
}

/// Publishes a state under tags.
fn state(gateway: &Gateway, data: u32, tags: &Value) {
    let body = json!({"channel": "room:1", "event": "state", "data": data, "tags": tags});
    assert_eq!(http::post(gateway.admin, "/v1/publish", &body).status, 200);
}

/// Asks until the answer is `wanted`: a command's names reach a shard a moment after the reload is counted.
async fn until(socket: &mut Socket, command: Value, wanted: (String, Value)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(socket, command.clone()).await;
        if answer == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{command}: {answer:?} and not {wanted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_come_change_and_go_under_live_connections() {
    let echo = "echo: {reply: {event: \"'echo'\", data: data}}";
    let old = "turn: {ack: \"{'was': data.n}\"}";
    let file = Manifest::new("commands", &spec(&[echo, old, "leaving: {ack: data}"]));
    let gateway = file.serve(&[]);
    let mut ann = open(&gateway).await;
    assert_eq!(ask(&mut ann, json!({"type": "turn", "n": 1})).await, ("ack".into(), json!({"was": 1})));
    assert_eq!(ask(&mut ann, json!({"type": "leaving", "n": 1})).await, ("ack".into(), json!({"n": 1})));
    assert_eq!(ask(&mut ann, json!({"type": "coming", "n": 1})).await, refused("unknown_type"));

    let new = "turn: {when: \"data.n > 1\", publishTo: {channel: 'log:{user}', event: \"'turned'\"}}";
    change(&file, &gateway, &spec(&[echo, new, "coming: {ack: data}"]));
    let mut bob = open(&gateway).await;
    for socket in [&mut ann, &mut bob] {
        assert_eq!(ask(socket, json!({"type": "leaving", "n": 1})).await, refused("unknown_type"));
        assert_eq!(ask(socket, json!({"type": "coming", "n": 1})).await, ("ack".into(), json!({"n": 1})));
        assert_eq!(ask(socket, json!({"type": "turn", "n": 1})).await, refused("forbidden"));
        let (kind, published) = ask(socket, json!({"type": "turn", "n": 2})).await;
        assert_eq!((&*kind, &published["channel"]), ("published", &json!("log:ann")));
        assert_eq!(ask(socket, json!({"type": "echo", "n": 1})).await, ("echo".into(), json!({"n": 1})));
    }
    let counted =
        |kind: &str| gateway.metric("rtgw_commands_total", &format!("type=\"{kind}\",result=\"ok\""));
    eventually("all is counted", || {
        let counts = (gateway.metric("rtgw_connections", ""), counted("echo"), counted("coming"));
        (counts == (2.0, 2.0, 2.0)).then_some(())
    });
}

/// Twenty reloads that touch other commands: each of the questions that are under way all the time has its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_stays_is_answered_through_every_reload() {
    let echo = "echo: {reply: {event: \"'echo'\", data: data}}";
    let file = Manifest::new("stays", &spec(&[echo]));
    let gateway = file.serve(&[]);
    let mut ann = open(&gateway).await;
    let (done, mut end) = tokio::sync::watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut asked = 0;
        while !*end.borrow_and_update() {
            assert_eq!(
                ask(&mut ann, json!({"type": "echo", "n": asked})).await,
                ("echo".into(), json!({"n": asked}))
            );
            asked += 1;
            // Within its rate.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        asked
    });
    for number in 0..20 {
        // Others stand before it and go again.
        let others: Vec<String> =
            (0..number % 4).map(|at| format!("a{number}x{at}: {{ack: data}}")).collect();
        let commands: Vec<&str> = others.iter().map(String::as_str).chain([echo]).collect();
        change(&file, &gateway, &spec(&[&commands[..], &[LAST][..number % 2]].concat()));
    }
    done.send(true).unwrap();
    let asked = asking.await.unwrap();
    eprintln!("{asked} commands during 20 reloads");
    assert!(asked > 20, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_values_outlive_reloads_as_long_as_a_command_asks_for_them() {
    let file = Manifest::new("latest", &spec(&[LAST]));
    let gateway = file.serve(&[]);
    let mut ann = open(&gateway).await;
    ann.send(&json!({"type": "subscribe", "channel": "room:1"})).await;
    ann.json_of_type("subscribed").await;
    let last = |kind: &str| json!({"type": "last", "room": "1", "kind": kind});
    let is = |data: u32| ("state".to_owned(), json!(data));
    state(&gateway, 1, &json!({"kind": "a"}));
    state(&gateway, 2, &json!({"kind": "b", "size": "big"}));
    until(&mut ann, last("a"), is(1)).await;
    until(&mut ann, last("b"), is(2)).await;

    // Something else changes; a command that asks by another tag comes beside it; its channel's rule changes its place.
    change(&file, &gateway, &spec(&["echo: {ack: data}", LAST]));
    assert_eq!(ask(&mut ann, last("a")).await, is(1));
    let sized =
        "sized: {replyLatest: {channel: 'room:{data.room}', event: \"'state'\", tags: {size: data.size}}}";
    change(&file, &gateway, &spec(&[LAST, sized]));
    assert_eq!(ask(&mut ann, last("a")).await, is(1));
    assert_eq!(ask(&mut ann, last("b")).await, is(2));
    let by_size = json!({"type": "sized", "room": "1", "size": "big"});
    assert_eq!(ask(&mut ann, by_size.clone()).await, refused("not_available"), "nobody looked at its size");
    state(&gateway, 3, &json!({"kind": "b", "size": "big"}));
    until(&mut ann, by_size.clone(), is(3)).await;
    assert_eq!(ask(&mut ann, last("b")).await, is(3));
    change(
        &file,
        &gateway,
        &spec(&[sized]).replace("{pattern: 'room:", "{pattern: first}, {pattern: 'room:"),
    );
    assert_eq!(ask(&mut ann, by_size).await, is(3));
    assert_eq!(ask(&mut ann, last("a")).await, refused("unknown_type"));
    // Who asks for another event begins with nothing, and what nobody asks for any more is forgotten.
    let other = LAST.replace("'state'", "'other'");
    change(&file, &gateway, &spec(&[&other]));
    assert_eq!(ask(&mut ann, last("a")).await, refused("not_available"));
    change(&file, &gateway, &spec(&["echo: {ack: data}"]));
    change(&file, &gateway, &spec(&[LAST]));
    assert_eq!(ask(&mut ann, last("a")).await, refused("not_available"));
}

/// What a client may not hear any more it may not ask for either, from the same reload on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tightened_rule_holds_for_the_latest_too() {
    let file = Manifest::new("latest-rule", &spec(&[LAST]));
    let gateway = file.serve(&[]);
    let mut ann = open(&gateway).await;
    ann.send(&json!({"type": "subscribe", "channel": "room:1"})).await;
    ann.json_of_type("subscribed").await;
    state(&gateway, 1, &json!({"kind": "a"}));
    let last = json!({"type": "last", "room": "1", "kind": "a"});
    until(&mut ann, last.clone(), ("state".into(), json!(1))).await;
    let tightened = spec(&[LAST]).replacen("subscribe: \"user != ''\"", "subscribe: \"user == 'bob'\"", 1);
    change(&file, &gateway, &tightened);
    assert_eq!(ask(&mut ann, last).await, refused("forbidden"));
}
