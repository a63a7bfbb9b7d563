//! Secrets that are mounted, and those that are not.

use rtgw_config::pod::Phase;
use serde_json::json;

use crate::stage::{KEY, Mounts, acknowledged, ask, config, report, reported};
use crate::support::eventually;
use crate::support::socket::Socket;

const OTHER: &str = "another-key-another-key-another-k";

const SPEC: &str = "endpoints: [{name: ws, path: /ws}]\n\
    auth:\n  issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]\n\
    channels: [{pattern: news}]\n";

fn client_token(key: &str) -> String {
    let claims = json!({"sub": "u", "exp": crate::stage::now() + 600});
    let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_value_and_a_new_key_count_without_a_reconnect() {
    let mounts = Mounts::new("rotation");
    mounts.secret("auth", &[("jwt", KEY)]);
    mounts.config(&[("config.yaml", &config(1, SPEC))]);
    let gateway = mounts.serve();
    let with = |key: &str| format!("{}?token={}", gateway.url("/ws"), client_token(key));
    let mut socket = Socket::open(&with(KEY)).await;
    let loaded = report(&gateway).secrets.loaded;
    assert_eq!((loaded.len(), &*loaded[0].name, &loaded[0].keys[..]), (1, "auth", &["jwt".to_owned()][..]));

    // The Secret first, the configuration that names its new key after it.
    mounts.secret("auth", &[("jwt", KEY), ("next", OTHER)]);
    let both = SPEC.replace("key: jwt}", "key: next}, previousSecretRef: {name: auth, key: jwt}");
    mounts.config(&[("config.yaml", &config(2, &both))]);
    let report = acknowledged(&gateway, 2);
    let mut keys = report.secrets.loaded[0].keys.clone();
    keys.sort();
    assert_eq!(keys, ["jwt", "next"]);
    for key in [KEY, OTHER] {
        Socket::open(&with(key)).await.json_of_type("connected").await;
    }
    // A new value of a key that is named: no generation says so.
    let third = "a-third-key-a-third-key-a-third-key";
    mounts.secret("auth", &[("jwt", KEY), ("next", third)]);
    eventually("the new value counts", || {
        // The first time it was new.
        (gateway.process.stderr().matches("Secret/auth.next").count() > 1).then_some(())
    });
    Socket::open(&with(third)).await.json_of_type("connected").await;
    socket.send(&json!({"type": "ping"})).await;
    socket.json_of_type("pong").await;
    let shown = ask(&gateway, "/metrics", &[]).body + &gateway.process.stderr();
    assert!([KEY, OTHER, third].iter().all(|secret| !shown.contains(secret)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_missing_secret_and_names_the_field() {
    let mounts = Mounts::new("missing");
    // Its mount is optional: an empty folder.
    mounts.secret("auth", &[]);
    mounts.config(&[("config.yaml", &config(1, SPEC))]);
    let mut gateway = mounts.begin();
    let waiting = report(&gateway);
    assert_eq!((waiting.phase, waiting.config.generation), (Phase::Starting, None));
    let missing = |report: &rtgw_config::pod::PodReport| -> Vec<String> {
        let shown = |one: &rtgw_config::pod::MissingSecret| format!("{} {} {}", one.path, one.name, one.key);
        report.secrets.missing.iter().map(shown).collect()
    };
    assert_eq!(missing(&waiting), ["spec.auth.issuers[0].secretRef auth jwt"]);
    let refused = waiting.config.refused.as_ref().unwrap();
    assert_eq!(
        (refused.generation, &*refused.problems[0].path),
        (Some(1), "spec.auth.issuers[0].secretRef.name")
    );
    assert_eq!(ask(&gateway, "/readyz", &[]).status, 503);
    assert_eq!(ask(&gateway, "/v1/pod", &[]).status, 401);
    assert_eq!(ask(&gateway, "/v1/info", &[]).status, 503);
    // The Secret comes without the key, then with it.
    mounts.secret("auth", &[("other", KEY)]);
    eventually("the key is missing", || {
        let report = report(&gateway);
        let path = report.config.refused?.problems.first()?.path.clone();
        (path == "spec.auth.issuers[0].secretRef.key").then_some(())
    });
    mounts.secret("auth", &[("jwt", KEY)]);
    eventually("the gateway is ready", || {
        assert!(gateway.process.running(), "{}", gateway.process.stderr());
        crate::support::http::try_get(gateway.admin, "/readyz").filter(|answer| answer.status == 200)
    });
    let ready = acknowledged(&gateway, 1);
    assert!(ready.secrets.missing.is_empty() && ready.boot_id == waiting.boot_id, "{ready:?}");

    // Taken away under a running pod: the old value goes on, and the field is named.
    let url = format!("{}?token={}", gateway.url("/ws"), client_token(KEY));
    let mut socket = Socket::open(&url).await;
    mounts.secret("auth", &[("other", KEY)]);
    let without = reported(&gateway, "what is missing", |report| !report.secrets.missing.is_empty());
    assert_eq!(missing(&without), ["spec.auth.issuers[0].secretRef auth jwt"]);
    assert_eq!((without.config.generation, without.phase), (Some(1), Phase::Serving));
    Socket::open(&url).await.json_of_type("connected").await;
    socket.send(&json!({"type": "ping"})).await;
    socket.json_of_type("pong").await;
}

#[test]
fn a_pod_that_waits_ends_when_it_is_told_to() {
    let mounts = Mounts::new("waits");
    mounts.config(&[("config.yaml", &config(1, SPEC))]);
    let mut gateway = mounts.begin();
    assert_eq!(report(&gateway).secrets.missing.len(), 1);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.ended().code(), Some(0));
}
