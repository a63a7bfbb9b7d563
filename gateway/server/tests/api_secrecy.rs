//! What the API must not give away, whom it must not obey, and that its description is true.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod api_support;
mod support;

use std::process::Command;

use api_support::{ADMIN, JOBS, MARK, READER, gateway, get, post};
use serde_json::{Value, json};
use support::gateway::{Gateway, rtgw};
use support::http::exchange;

/// Whatever is asked, and however wrongly: no secret comes back, is logged, counted or shown among the processes.
#[test]
fn secrets_stay_secret() {
    let gateway = gateway();
    let config = get(&gateway, READER, "/config");
    let shown = config.json();
    assert_eq!((&shown["name"], &shown["versions"]), (&json!("api"), &json!([1])));
    assert_eq!(shown["revision"], get(&gateway, READER, "/v1/info").json()["revision"]);
    let reference = &shown["spec"]["auth"]["apiKeys"][0]["secretRef"];
    assert_eq!(*reference, json!({"name": "keys", "key": "admin"}));
    assert_eq!(shown["spec"]["auth"]["webhook"]["url"], "https://app.example.com/auth?…");
    let mut texts = vec![config.body, get(&gateway, ADMIN, "/v1/info").body];
    texts.push(get(&gateway, ADMIN, "/v1/openapi.json").body);
    texts.push(exchange(gateway.admin, "GET", "/metrics", &[], "").body);
    let wrong = format!("{ADMIN}x");
    texts.push(get(&gateway, &wrong, "/config").body);
    texts.push(get(&gateway, JOBS, "/config").body);
    let bearer = format!("Bearer {ADMIN}");
    for twice in [
        [("authorization", &*bearer), ("x-api-key", ADMIN)],
        [("authorization", &*bearer), ("authorization", &*bearer)],
        [("x-api-key", ADMIN), ("x-api-key", JOBS)],
    ] {
        let answer = exchange(gateway.admin, "GET", "/config", &twice, "");
        assert_eq!(answer.status, 400);
        texts.push(answer.body);
    }
    texts.push(post(&gateway, ADMIN, "/v1/publish", &json!({"channel": "jobs:1"})).body);
    texts.push(exchange(gateway.admin, "GET", &format!("/{ADMIN}?key={ADMIN}"), &[], "").body);
    texts.push(std::fs::read_to_string(format!("/proc/{}/cmdline", gateway.process.id())).unwrap());
    texts.push(gateway.process.stderr());
    for text in texts {
        assert!(!text.contains(MARK), "{text}");
    }
}

#[test]
fn the_command_line_brings_a_key_and_never_shows_it() {
    let gateway = gateway();
    let admin = format!("http://{}", gateway.admin);
    let publish = |more: &[&str], key: Option<&str>| {
        let mut publish = rtgw();
        publish.args(["publish", "--admin", &admin]).args(more);
        publish.env_remove("RTGW_API_KEY").envs(key.map(|key| ("RTGW_API_KEY", key)));
        let output = publish.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(MARK), "{said}");
        (output.status.code().unwrap(), said)
    };
    let event = ["jobs:1", "e", "1"];
    assert_eq!(publish(&event, Some(JOBS)).0, 0);
    assert_eq!(publish(&[&["--api-key", JOBS], &event[..]].concat(), None).0, 0);
    let (code, said) = publish(&event, None);
    assert!(code == 1 && said.contains("API key"), "{said}");
    let (code, said) = publish(&event, Some("wrong-s3cret-wrong-s3cret"));
    assert!(code == 1 && said.contains("no such API key"), "{said}");
    let (code, said) = publish(&event, Some("s3cret\nx: y"));
    assert!(code == 64 && said.contains("no text that a header can carry"), "{said}");
    let (code, said) = publish(&["--help"], Some(JOBS));
    assert!(code == 0 && said.contains("RTGW_API_KEY") && said.contains("safer"), "{said}");
}

/// What a page of another origin can make a browser send: none of it is carried out, keys or no keys.
#[test]
fn web_pages_cannot_act_for_whoever_looks_at_them() {
    let with_keys = gateway();
    let open = Gateway::serve("examples/quickstart/gateway.yaml", &[]);
    let body = r#"{"channel":"room:lobby","event":"e","data":1}"#;
    let evil = ("origin", "https://evil.example");
    let key = ("x-api-key", ADMIN);
    let json = ("content-type", "application/json");
    for gateway in [&with_keys, &open] {
        let before = gateway.metric("rtgw_publications_total", "source=\"api\"");
        let post = |headers: &[(&str, &str)]| exchange(gateway.admin, "POST", "/v1/publish", headers, body);
        // Simple requests: a form, a script without CORS.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            assert_eq!(post(&[("content-type", kind), evil, key]).status, 403, "{kind}");
            assert_eq!(post(&[("content-type", kind), key]).status, 415, "{kind}");
        }
        assert_eq!(post(&[json, evil, key]).status, 403);
        assert_eq!(post(&[json, ("origin", "null"), key]).status, 403);
        // The question before a request that is not simple gets no permission.
        let asked = [evil, ("access-control-request-method", "POST")];
        let answer = exchange(gateway.admin, "OPTIONS", "/v1/publish", &asked, "");
        assert!(!answer.head.to_ascii_lowercase().contains("access-control-allow"), "{answer:?}");
        // A name of somebody else's that resolves to this machine, and its own pages.
        let rebound = [("host", "rebound.example:9090"), ("origin", "http://rebound.example:9090"), json];
        let no = if gateway.admin == open.admin { 403 } else { 401 };
        assert_eq!(post(&rebound).status, no, "no key, no loopback name");
        let own = format!("localhost:{}", gateway.admin.port());
        let target = exchange(gateway.admin, "GET", "http://rebound.example/v1/info", &[("host", &own)], "");
        assert_eq!(target.status, no);
        assert_eq!(gateway.metric("rtgw_publications_total", "source=\"api\""), before);
    }
}

/// What is too large or malformed is refused, and the next one is served.
#[test]
fn bounds_hold_before_a_key_is_looked_at() {
    let gateway = gateway();
    let long = "x".repeat(20 * 1024);
    assert_eq!(get(&gateway, &long, "/v1/info").status, 431);
    assert_eq!(exchange(gateway.admin, "GET", &format!("/v1/channels?prefix={long}"), &[], "").status, 431);
    assert_eq!(exchange(gateway.admin, "GET", "/v1/in fo", &[], "").status, 400);
    let body = json!({"user": "x".repeat(1024 * 1024), "channel": "jobs:1"});
    assert_eq!(post(&gateway, ADMIN, "/v1/subscribe", &body).status, 413);
    let nested = format!("{{\"user\":\"a\",\"expiresAt\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let headers = [("content-type", "application/json"), ("x-api-key", ADMIN)];
    assert_eq!(exchange(gateway.admin, "POST", "/v1/refresh", &headers, &nested).status, 400);
    assert_eq!(get(&gateway, READER, "/v1/info").status, 200);
}

/// An independent validator finds nothing, and what is described is what is served.
#[test]
fn the_description_is_valid_and_complete() {
    let root = support::root();
    let python = root.join(".cache/venv/bin/python");
    let output = Command::new(&python)
        .args(["-m", "openapi_spec_validator", "docs/reference/openapi.json"])
        .current_dir(&root)
        .output()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; `make test` installs what tests need", python.display())
        });
    assert!(output.status.success(), "{output:?}");

    let gateway = gateway();
    let served = get(&gateway, JOBS, "/v1/openapi.json").json();
    let committed = std::fs::read_to_string(root.join("docs/reference/openapi.json")).unwrap();
    assert!(served == serde_json::from_str::<Value>(&committed).unwrap(), "run `make generate`");
    for (path, operations) in served["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let asked = path.replace("{channel}", "jobs:1");
            let answer = exchange(gateway.admin, &method.to_uppercase(), &asked, &[], "");
            let open = operation["security"] == json!([]);
            let described = operation["responses"].as_object().unwrap();
            assert!(described.contains_key(&answer.status.to_string()), "{method} {path}: {answer:?}");
            assert_eq!(matches!(answer.status, 401 | 415), !open, "{method} {path}: {answer:?}");
            let other = if method == "get" { "POST" } else { "GET" };
            assert_eq!(exchange(gateway.admin, other, &asked, &[], "").status, 405, "{other} {path}");
        }
    }
}
