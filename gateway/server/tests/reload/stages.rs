//! Another Redis, in stages, under traffic between two pods that take each stage one after the other.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Publisher;
use crate::stage::{ISSUER, KEY, Manifest, change, manifest, reloads, token};
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::socket::Socket;
use crate::support::{eventually, http};

fn content(redis: &str) -> String {
    let issuer = ISSUER.replace("auth:\n", "auth:\n  anonymous: Allow\n");
    manifest(&format!(
        "{issuer}endpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
         channels:\n- {{pattern: news, subscribe: 'true'}}\n\
         - {{pattern: kept, subscribe: 'true', history: {{mode: Stream, size: 10000, ttl: 10m}}}}\n\
         - {{pattern: here, subscribe: 'true', presence: {{enabled: true}}}}\n\
         - {{pattern: alone, subscribe: 'true'}}\n\
         sources:\n- {{name: alone, ingest: OnePod, redisPubSub: {{channels: ['one']}}, publish: [{{channels: [alone], event: \"'n'\", data: msg}}]}}\n\
         redis: {redis}"
    ))
}

fn alone(redis: &Redis) -> String {
    content(&format!("{{external: {{url: '{}'}}}}", redis.url()))
}

fn both(old: &Redis, new: &Redis, write_to: &str) -> String {
    content(&format!(
        "{{external: {{url: '{}'}}, previous: {{external: {{url: '{}'}}}}, writeTo: {write_to}}}",
        new.url(),
        old.url()
    ))
}

async fn subscribed(gateway: &Gateway, channel: &str) -> Socket {
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.send(&json!({"type": "subscribe", "channel": channel})).await;
    socket.json_of_type("subscribed").await;
    socket
}

/// What came up to the number `last`: numbers, and the reasons of gaps between them.
async fn heard(socket: &mut Socket, last: u64) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    while numbers.last() != Some(&last) {
        let message = socket.json().await;
        match message["type"].as_str() {
            Some("n") => numbers.push(message["data"].as_u64().unwrap()),
            Some("gap") => gaps.push(message["data"]["reason"].as_str().unwrap().to_owned()),
            _ => panic!("{message}"),
        }
    }
    (numbers, gaps)
}

fn written(pod: &Gateway) -> Value {
    http::get(pod.admin, "/v1/info").json()["redis"].clone()
}

/// Who holds the token `jti` is not let in.
async fn is_revoked(pod: &Gateway, jti: &str) -> bool {
    let token = token(KEY, json!({"sub": "ann", "jti": jti}));
    Socket::try_open(&format!("{}?token={token}", pod.url("/ws")), &[]).await.is_err()
}

/// What holds at every stage: all hear of all, and who is out stays out.
async fn all_is_well(pods: &[Gateway; 2], stage: &str) {
    for pod in pods {
        eventually("presence has the members of both pods", || {
            (http::get(pod.admin, "/v1/presence/here").json()["clients"] == 2).then_some(())
        });
        assert!(is_revoked(pod, "stolen").await, "{stage}");
        assert!(!is_revoked(pod, "other").await, "{stage}");
        eventually("it is well", || {
            (http::get(pod.admin, "/readyz").json()["degraded"] == json!([])).then_some(())
        });
        // Who was let in to find out has gone, and each pod says what it holds.
        eventually("each pod answers for its connections", || {
            let connections = http::get(pod.admin, "/v1/connections?scope=cluster").json();
            (connections["connections"].as_array().map(Vec::len) == Some(8)).then_some(())
        });
    }
}

/// Publishes under a key; the id, and whether it had been published before.
fn once(pod: &Gateway, key: &str) -> Value {
    let body = json!({"channel": "here", "event": "n", "data": 0, "idempotencyKey": key});
    let answer = http::post(pod.admin, "/v1/publish", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["id"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_redis_in_stages_under_traffic_loses_nothing_and_closes_nobody() {
    let (old, new) = (Redis::start(), Redis::start());
    let files = ["a", "b"].map(|pod| Manifest::new(&format!("stages-{pod}"), &alone(&old)));
    let pods = [files[0].serve(&[]), files[1].serve(&[])];
    let (mut news, mut kept, mut members, mut jobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pod in &pods {
        news.push(subscribed(pod, "news").await);
        kept.push(subscribed(pod, "kept").await);
        members.push(subscribed(pod, "here").await);
        jobs.push(subscribed(pod, "alone").await);
    }
    let revoked = http::post(pods[1].admin, "/v1/revoke", &json!({"jti": "stolen", "ttl": 3600}));
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let first = once(&pods[0], "first");
    let of_a = Publisher::start(pods[0].admin, "news", Duration::from_millis(2));
    let of_b = Publisher::start(pods[1].admin, "kept", Duration::from_millis(2));
    all_is_well(&pods, "before").await;
    assert_eq!(written(&pods[0]), json!({"written": format!("{}/0", old.url())}));

    for (stage, content) in [
        ("write the old one", both(&old, &new, "Previous")),
        ("write the new one", both(&old, &new, "Current")),
        ("the new one alone", alone(&new)),
    ] {
        for (file, pod) in files.iter().zip(&pods) {
            change(file, pod, &content);
            // Side by side with the stage before, and long enough for that to show.
            tokio::time::sleep(Duration::from_millis(700)).await;
            all_is_well(&pods, stage).await;
            if stage != "the new one alone" {
                assert_eq!(once(pod, "first"), first, "{stage}");
            }
        }
        if stage == "write the new one" {
            for pod in &pods {
                let expected = json!({"written": format!("{}/0", new.url()), "other": format!("{}/0", old.url()), "to_come": false});
                eventually("both write the new one", || (written(pod) == expected).then_some(()));
                assert_eq!(pod.metric("rtgw_redis_written", "external"), 1.0);
                assert_eq!(pod.metric("rtgw_redis_written", "previous"), 0.0);
            }
        }
    }
    let (of_a, of_b) = (of_a.end(), of_b.end());
    assert!(of_a > 100 && of_b > 100, "{of_a} {of_b}");
    for (sockets, sent, expected) in [(&mut news, of_a, &[][..]), (&mut kept, of_b, &["broker_reset"][..])] {
        for socket in sockets {
            let (numbers, gaps) = heard(socket, sent - 1).await;
            assert!(numbers.iter().copied().eq(0..sent), "each once and in order: {numbers:?}");
            assert_eq!(gaps, expected, "once, where there are positions");
        }
    }
    for pod in &pods {
        assert_eq!(pod.metric("rtgw_connections", ""), 4.0, "nobody was closed");
        assert_eq!(written(pod), json!({"written": format!("{}/0", new.url())}));
    }
    eventually("nobody is connected to the old one but who asks", || {
        (old.cli(&["CLIENT", "LIST"]).lines().count() == 1).then_some(())
    });
    all_begins_anew(&new, &mut jobs).await;
}

/// The old one is not needed any more.
async fn all_begins_anew(new: &Redis, jobs: &mut [Socket]) {
    // Who begins now knows what was revoked before.
    let late = Manifest::new("stages-late", &alone(new));
    let late = late.serve(&[]);
    assert!(is_revoked(&late, "stolen").await);
    // The source is read by one pod, of the new Redis.
    eventually("one pod reads", || {
        (new.cli(&["PUBSUB", "NUMSUB", "one"]).lines().last() == Some("1")).then_some(())
    });
    assert_eq!(new.cli(&["PUBLISH", "one", "7"]), "1");
    for socket in jobs {
        assert_eq!(socket.json_of_type("n").await["data"], json!(7));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_that_would_part_the_pods_are_refused_with_what_to_do() {
    let (old, new) = (Redis::start(), Redis::start());
    let file = Manifest::new("skipped", &alone(&old));
    let pod = file.serve(&[]);
    let refused = |content: &str, why: &str| {
        let before = reloads(&pod, "refused");
        file.write(content);
        pod.process.signal("HUP");
        eventually("the reload is refused", || (reloads(&pod, "refused") > before).then_some(()));
        eventually("the log says why", || pod.process.stderr().contains(why).then_some(()));
    };
    let stages = "1. `external` is the new one, `previous` the old one, `writeTo: Previous`";
    refused(&alone(&new), stages);
    refused(&both(&old, &new, "Current"), stages);
    change(&file, &pod, &both(&old, &new, "Previous"));
    refused(&alone(&new), stages);
    // Nothing is written there yet: it may be given up.
    change(&file, &pod, &alone(&old));
    change(&file, &pod, &both(&old, &new, "Previous"));
    change(&file, &pod, &both(&old, &new, "Current"));
    eventually("it has gone on", || (written(&pod)["to_come"] == json!(false)).then_some(()));
    refused(&alone(&old), stages);
    // Not a way back: what was left stays left until it is gone to in stages.
    change(&file, &pod, &both(&old, &new, "Previous"));
    assert_eq!(written(&pod)["to_come"], json!(false));
    refused(&alone(&old), "publish in redis://");
    change(&file, &pod, &both(&old, &new, "Current"));
    change(&file, &pod, &alone(&new));
}
