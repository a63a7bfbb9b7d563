//! The internal listener: probes, metrics, and an API that only this machine's user can reach.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use http_support::{OPEN, Rig};
use serde_json::json;

#[test]
fn readiness_follows_the_probe_the_drain_and_strictness() {
    let rig = Rig::new(OPEN);
    let ready = |query: &str| {
        let answer = rig.ask(&format!("GET /readyz{query}"), &[("Host", "10.0.0.1:9090")], "");
        (answer.status, answer.json()["degraded"].clone())
    };
    assert_eq!(rig.ask("GET /livez", &[("Host", "10.0.0.1")], "").status, 200);
    assert_eq!(ready("").0, 503);
    rig.readiness.probed(Duration::from_millis(1));
    assert_eq!(ready(""), (200, json!([])));
    rig.readiness.degrade("source:jobs");
    assert_eq!(ready(""), (200, json!(["source:jobs"])));
    assert_eq!(ready("?strict"), (503, json!(["source:jobs"])));
    rig.readiness.restore("source:jobs");
    assert_eq!(ready("?strict"), (200, json!([])));
    rig.readiness.drain();
    assert_eq!(ready("").0, 503);
}

#[test]
fn the_api_publishes_and_names_the_bad_member() {
    let rig = Rig::new(OPEN);
    let good = r#"{"channel":"room:1","event":"e","data":{"a":1}}"#;
    let answer = rig.post("/v1/publish", good);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["id"].is_string());
    let answer = rig.post("/v1/broadcast", r#"{"channels":["room:1","room:2"],"event":"e","data":1}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = rig.post("/v1/batch", &format!(r#"{{"publications":[{good},{good}]}}"#));
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 2);
    let said = |path: &str, body: &str| {
        let answer = rig.post(path, body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}");
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let undeclared = r#"{"channel":"other","event":"e","data":1}"#;
    assert!(said("/v1/publish", undeclared).starts_with("channels[0] is not declared"));
    let batch = format!(r#"{{"publications":[{good},{undeclared}]}}"#);
    assert!(said("/v1/batch", &batch).starts_with("publications[1].channels[0] is not declared"));
    assert!(said("/v1/publish", "{").starts_with("the body is not JSON"));
    // Nothing of the refused batch went out: one, one and two publications did.
    let metrics = rig.ask("GET /metrics", &[], "").text();
    assert!(
        metrics.contains(r#"rtgw_publications_total{source="api",pattern="room:{room}"} 4"#),
        "{metrics}"
    );
    let info = rig.ask("GET /v1/info", &[], "").json();
    assert_eq!((&info["publications"], &info["name"]), (&json!(4), &json!("test")));
    assert!(info["endpoints"][0]["url"].as_str().unwrap().ends_with("/ws"));
}

#[test]
fn bodies_are_bounded() {
    let rig = Rig::new(OPEN);
    let data = "x".repeat(1024 * 1024);
    let body = format!(r#"{{"channel":"room:1","event":"e","data":"{data}"}}"#);
    let answer = rig.post("/v1/publish", &body);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
}

#[test]
fn web_pages_cannot_use_the_api() {
    let rig = Rig::new(OPEN);
    let json_body = ("Content-Type", "application/json");
    let body = r#"{"channel":"room:1","event":"e","data":1}"#;
    let publish = |headers: &[(&str, &str)]| rig.ask("POST /v1/publish", headers, body).status;
    let own = rig.internal.to_string();
    let own_origin = format!("http://{own}");
    assert_eq!(publish(&[json_body]), 200);
    assert_eq!(publish(&[json_body, ("Host", &own), ("Origin", &own_origin)]), 200);
    // A name of somebody else's that resolves to this machine.
    assert_eq!(publish(&[json_body, ("Host", "rebound.test")]), 403);
    // A script or a form of another page.
    assert_eq!(publish(&[json_body, ("Host", &own), ("Origin", "https://evil.test")]), 403);
    assert_eq!(publish(&[("Content-Type", "text/plain")]), 415);
    assert_eq!(rig.ask("GET /console/", &[("Host", "rebound.test")], "").status, 403);
    assert_eq!(rig.ask("GET /console/", &[], "").status, 200);
    assert_eq!(rig.ask("GET http://rebound.test/v1/info", &[], "").status, 403);
    assert_eq!(rig.ask("DELETE /v1/publish", &[], "").status, 405);
    assert_eq!(rig.ask("GET /v1/nothing", &[], "").status, 404);
}

#[test]
fn an_exposed_listener_keeps_probes_and_closes_the_api() {
    let rig = Rig::with(OPEN, 100, Ipv4Addr::UNSPECIFIED);
    let answer = rig.post("/v1/publish", r#"{"channel":"room:1","event":"e","data":1}"#);
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("auth.apiKeys"));
    assert_eq!(rig.ask("GET /console/", &[], "").status, 403);
    assert_eq!(rig.ask("GET /livez", &[], "").status, 200);
    assert_eq!(rig.ask("GET /metrics", &[], "").status, 200);
}

#[test]
fn metrics_are_valid_text_with_the_documented_names() {
    let rig = Rig::new(OPEN);
    rig.readiness.probed(Duration::from_millis(3));
    assert_eq!(rig.client().shake("/ws", &[]).answer().status, 101);
    let answer = rig.ask("GET /metrics", &[("Host", "10.0.0.1")], "");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    let mut described = BTreeSet::new();
    let mut samples = BTreeSet::new();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "EOF"] => {}
            ["#", "HELP" | "TYPE", name, ..] => drop(described.insert(name.to_owned())),
            [_, .., value] => {
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = line.split(['{', ' ']).next().unwrap();
                let family = without_suffix(name, &["_total", "_info", "_bucket", "_count", "_sum"]);
                assert!(described.contains(family), "{line} has no description");
                assert!(samples.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line} is there twice");
            }
            _ => panic!("{line:?}"),
        }
    }
    let page = include_str!("../../../docs/reference/metrics.md");
    for sample in &samples {
        let name = without_suffix(sample.split('{').next().unwrap(), &["_bucket", "_count", "_sum"]);
        assert!(page.contains(&format!("`{name}`")), "{name} is not documented");
    }
    for expected in [
        r#"rtgw_handshakes_total{endpoint="ws",result="accepted"}"#,
        "rtgw_connection_capacity",
        r#"rtgw_broker_up{shard="0"}"#,
        r#"rtgw_config_reloads_total{result="accepted"}"#,
        "rtgw_draining",
        "process_resident_memory_bytes",
    ] {
        assert!(samples.contains(expected), "{expected} in\n{text}");
    }
    assert!(text.contains(r#"rtgw_config_revision_info{revision=""#), "{text}");
}

fn without_suffix<'a>(name: &'a str, suffixes: &[&str]) -> &'a str {
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[test]
fn a_silent_shard_keeps_its_last_numbers() {
    let rig = Rig::new(OPEN);
    rig.shard.report.lock().counters.connections = vec![9];
    let connections = || {
        let text = rig.ask("GET /metrics", &[], "").text();
        text.lines().find(|line| line.starts_with("rtgw_connections{")).unwrap().to_owned()
    };
    assert!(connections().ends_with(" 9"));
    *rig.shard.answers.lock() = false;
    std::thread::sleep(Duration::from_millis(250));
    assert!(connections().ends_with(" 9"));
}
