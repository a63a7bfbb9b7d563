//! A source's messages, byte for byte as the five applications publish them, and messages as nobody should.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rtgw_config::checked::{PublishChannels, PublishRule};
use rtgw_config::expression::Expression;
use rtgw_config::template::Template;
use rtgw_model::{ChannelName, Publication, RuleIx, Timestamp};

use super::mapping::{DropReason, Mapped, MappingRules, Origin, SourceMessage};

const HEARD: Timestamp = Timestamp(1_700_000_000_123);

fn cel(text: &str) -> Expression {
    Expression::compile(text).unwrap()
}

fn rule(channels: &[&str]) -> PublishRule {
    PublishRule {
        when: None,
        channels: PublishChannels::List(channels.iter().map(|text| Template::parse(text).unwrap()).collect()),
        event: None,
        data: None,
        tags: BTreeMap::new(),
        timestamp: None,
        priority: None,
        idempotency_key: None,
    }
}

/// The rule of `examples/job-updates/gateway.yaml`.
fn job_updates() -> MappingRules {
    MappingRules::new(&[PublishRule {
        when: Some(cel("type(msg.job_id) == string && (has(msg.status) || has(msg.data.status))")),
        event: Some(cel("has(msg.event) ? msg.event : 'job_update'")),
        data: Some(cel(
            "{'type': 'job_update', 'job_id': msg.job_id, 'status': has(msg.status) ? msg.status : msg.data.status, \
                        'data': has(msg.data) ? msg.data : {}}",
        )),
        tags: BTreeMap::from([("job_id".to_owned(), cel("msg.job_id"))]),
        ..rule(&["jobs"])
    }])
}

/// Everything but `undeclared…` is declared, by the rule at index 7.
fn find_rule(channel: &ChannelName) -> Option<RuleIx> {
    (!channel.as_str().starts_with("undeclared")).then_some(RuleIx(7))
}

fn map_from(
    rules: &MappingRules,
    origin: Origin<'_>,
    payload: impl AsRef<[u8]>,
) -> Result<Mapped, DropReason> {
    let payload = Bytes::copy_from_slice(payload.as_ref());
    rules.map(SourceMessage { origin, payload: &payload, heard: HEARD }, find_rule)
}

fn map(rules: &MappingRules, payload: impl AsRef<[u8]>) -> Result<Mapped, DropReason> {
    map_from(rules, Origin::default(), payload)
}

fn publication(rules: &MappingRules, payload: impl AsRef<[u8]>) -> Publication {
    match map(rules, payload) {
        Ok(mapped) => mapped.publication,
        Err(reason) => panic!("dropped: {reason:?}"),
    }
}

fn names(publication: &Publication) -> Vec<&str> {
    publication.channels.iter().map(ChannelName::as_str).collect()
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn job_updates_reach_clients_byte_for_byte() {
    let cases = [
        (
            r#"{"job_id":"test-123","status":"completed","data":{"success":true}}"#,
            r#"{"type":"job_update","job_id":"test-123","status":"completed","data":{"success":true}}"#,
        ),
        (
            r#"{
                "event": "job_update",
                "job_id": "550e8400", "timestamp": 1699369800,
                "data": {"job_id": "550e8400", "status": "completed", "result": {"n": 5, "a": 1.50, "big": 12345678901234567890123}}
            }"#,
            r#"{"type":"job_update","job_id":"550e8400","status":"completed","data":{"job_id": "550e8400", "status": "completed", "result": {"n": 5, "a": 1.50, "big": 12345678901234567890123}}}"#,
        ),
        // The status is not always a text, and a text keeps its escapes.
        (
            r#"{"job_id":"\u00e9\"","status":[2, 1],"data":null}"#,
            r#"{"type":"job_update","job_id":"\u00e9\"","status":[2, 1],"data":null}"#,
        ),
        (r#"{"job_id":"a","status":"s"}"#, r#"{"type":"job_update","job_id":"a","status":"s","data":{}}"#),
    ];
    let rules = job_updates();
    for (message, data) in cases {
        let publication = publication(&rules, message);
        assert_eq!(text(&publication.data), data);
        assert_eq!((names(&publication), &*publication.event), (vec!["jobs"], "job_update"));
        assert_eq!(publication.timestamp, HEARD, "the rule gives no timestamp");
    }
    let tagged = publication(&rules, cases[2].0);
    assert_eq!(tagged.tag("job_id"), Some("é\""), "filters compare what the text means");
    let other = publication(&rules, r#"{"event":"job_deleted","job_id":"a","status":"s"}"#);
    assert_eq!(&*other.event, "job_deleted");
}

#[test]
fn messages_that_are_no_job_update_are_dropped() {
    let cases = [
        (r#"{"status":"s","data":{}}"#, DropReason::NoRule),
        (r#"{"job_id":5,"status":"s"}"#, DropReason::NoRule),
        (r#"{"job_id":null,"status":"s"}"#, DropReason::NoRule),
        (r#"{"job_id":"a"}"#, DropReason::NoRule),
        (r#"{"job_id":"a","data":{}}"#, DropReason::NoRule),
        (r#"{"job_id":"a","data":"status"}"#, DropReason::NoRule),
        (r#"{"job_id":"a","status":"s""#, DropReason::NoRule),
        (r#"["job_id"]"#, DropReason::NoRule),
        ("PING", DropReason::NoRule),
        ("", DropReason::NoRule),
        (r#"{"job_id":"a","status":"s","event":7}"#, DropReason::Event),
        (r#"{"job_id":"a","status":"s","event":""}"#, DropReason::Event),
    ];
    let rules = job_updates();
    for (message, reason) in cases {
        assert_eq!(map(&rules, message), Err(reason), "{message}");
    }
    assert_eq!(map(&rules, b"{\"job_id\":\"\xff\",\"status\":1}"), Err(DropReason::NotText));
    let deep = format!(r#"{{"job_id":"a","status":"s","data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(map(&rules, deep), Err(DropReason::NoRule), "nested too deep to be asked about");
}

#[test]
fn the_first_rule_whose_when_holds_is_used() {
    let when = |text, channel| PublishRule { when: Some(cel(text)), ..rule(&[channel]) };
    let rules = MappingRules::new(&[
        when("msg.kind == 'a'", "first"),
        when("msg.no.such.member", "failing"),
        when("'text'", "no-bool"),
        when("msg.kind in ['a', 'b']", "second"),
    ]);
    assert_eq!(names(&publication(&rules, r#"{"kind":"a"}"#)), ["first"]);
    assert_eq!(names(&publication(&rules, r#"{"kind":"b"}"#)), ["second"]);
    assert_eq!(map(&rules, r#"{"kind":"c"}"#), Err(DropReason::NoRule));
}

#[test]
fn the_whole_message_is_the_data_where_no_rule_says_otherwise() {
    let rules = MappingRules::new(&[rule(&["all"])]);
    let payload = Bytes::from_static(b" {\"b\": 1.0,\"a\":2}\n");
    let mapped =
        rules.map(SourceMessage { origin: Origin::default(), payload: &payload, heard: HEARD }, find_rule);
    let Ok(Mapped { publication: whole, rules: found, skipped, .. }) = mapped else { panic!("dropped") };
    assert_eq!(text(&whole.data), "{\"b\": 1.0,\"a\":2}");
    assert!(payload.as_ptr_range().contains(&whole.data.as_ptr()), "shared, not copied");
    assert_eq!((found.as_slice(), skipped), ([RuleIx(7)].as_slice(), 0));
    assert_eq!(&*whole.event, "message");
    assert_eq!(text(&publication(&rules, "not \"JSON\"").data), r#""not \"JSON\"""#);
    assert_eq!(text(&publication(&rules, "5 6").data), "\"5 6\"");
}

#[test]
fn channels_that_fail_are_skipped_and_repeats_count_once() {
    let several = &[
        "all",
        "{msg.id}",
        "user:{msg.user}",
        "undeclared:{msg.id}",
        "all",
        "x{msg.missing}",
        "{msg.list}",
        "n:{msg.n}",
    ];
    let rules = MappingRules::new(&[rule(several)]);
    let mapped = map(&rules, r#"{"id":"all","user":"a:b/é%","list":[],"n":-3}"#);
    let Ok(Mapped { publication, rules, skipped, .. }) = mapped else { panic!("dropped") };
    assert_eq!(names(&publication), ["all", "user:a%3Ab%2F%C3%A9%25", "n:-3"]);
    assert_eq!((skipped, rules.len()), (3, 3));

    let none = MappingRules::new(&[rule(&["undeclared", "{msg.missing}", "user:{msg.empty}", "d:{msg.d}"])]);
    assert_eq!(map(&none, r#"{"empty":"","d":1.5}"#), Err(DropReason::NoChannel));

    let from = |text: &str| {
        MappingRules::new(&[PublishRule { channels: PublishChannels::From(cel(text)), ..rule(&[]) }])
    };
    let list = from(
        "['executions', 'executions:' + msg.x] + (has(msg.w) ? ['workflows:' + msg.w] : []) + [msg.bad, 5]",
    );
    let mapped = map(&list, r#"{"x":"1","w":"2","bad":"a b"}"#);
    let Ok(Mapped { publication, skipped, .. }) = mapped else { panic!("dropped") };
    assert_eq!(names(&publication), ["executions", "executions:1", "workflows:2"]);
    assert_eq!(skipped, 2);
    assert_eq!(map(&list, "{}"), Err(DropReason::NoChannel), "the list itself fails");
    assert_eq!(map(&from("'text'"), "{}"), Err(DropReason::NoChannel));
    let many =
        map(&from("msg.map(n, 'c' + string(n))"), serde_json::json!((0..80).collect::<Vec<_>>()).to_string());
    let Ok(Mapped { publication, skipped, .. }) = many else { panic!("dropped") };
    assert_eq!((publication.channels.len(), skipped), (64, 16));
}

#[test]
fn what_the_source_captured_names_the_channel() {
    let rules = MappingRules::new(&[PublishRule {
        event: Some(cel("msg.event")),
        data: Some(cel("has(msg.data) ? msg.data : {}")),
        timestamp: Some(cel("msg.timestamp")),
        priority: Some(cel("msg.priority")),
        ..rule(&["workspace:{source.params.workspace_id}"])
    }]);
    let origin =
        Origin { channel: "workspace:w 1", params: &[("workspace_id", "w 1")], headers: &[("X-Kind", "k")] };
    let message = r#"{"event":"metrics_update","data":{"z":1,"a":2},"priority":"high"}"#;
    let Ok(Mapped { publication, .. }) = map_from(&rules, origin, message) else { panic!("dropped") };
    assert_eq!(names(&publication), ["workspace:w%201"]);
    assert_eq!(text(&publication.data), r#"{"z":1,"a":2}"#);
    assert_eq!((&*publication.event, publication.priority.as_deref()), ("metrics_update", Some("high")));

    let rules = MappingRules::new(&[PublishRule {
        data: Some(cel("[source.channel, headers['X-Kind'], raw, now, {'b': size(raw), 'a': 1u + 1u}]")),
        ..rule(&["all"])
    }]);
    let Ok(Mapped { publication, .. }) = map_from(&rules, origin, "t\"") else { panic!("dropped") };
    assert_eq!(text(&publication.data), r#"["workspace:w 1","k","t\"",1700000000,{"b":2,"a":2}]"#);
}

#[test]
fn an_idempotency_key_is_a_short_text_or_absent() {
    let rules = MappingRules::new(&[PublishRule { idempotency_key: Some(cel("msg.id")), ..rule(&["all"]) }]);
    let key = |message: &str| {
        let Ok(Mapped { idempotency_key, .. }) = map(&rules, message) else { panic!("dropped") };
        idempotency_key
    };
    assert_eq!(key(r#"{"id":"order-7"}"#).as_deref(), Some("order-7"));
    assert_eq!(key(r#"{"id":7}"#).as_deref(), Some("7"));
    let longest = "k".repeat(128);
    assert_eq!(key(&format!(r#"{{"id":"{longest}"}}"#)).as_deref(), Some(&*longest));
    for absent in [r#"{"id":""}"#, r#"{"id":{}}"#, "{}", &format!(r#"{{"id":"{longest}k"}}"#)] {
        assert_eq!(key(absent), None, "{absent}");
    }
}

#[test]
fn timestamps_are_read_in_three_forms_or_left_out() {
    let rules = MappingRules::new(&[PublishRule { timestamp: Some(cel("msg.t")), ..rule(&["all"]) }]);
    let cases = [
        (r#""2023-11-14T22:13:20.5Z""#, 1_700_000_000_500),
        (r#""2023-11-15T00:13:20+02:00""#, 1_700_000_000_000),
        ("1699369800", 1_699_369_800_000),
        ("1699369800.25", 1_699_369_800_250),
        ("1699369800250", 1_699_369_800_250),
        ("1699369800250.9", 1_699_369_800_250),
        ("-1", -1000),
        ("0", 0),
        (r#""yesterday""#, HEARD.0),
        ("null", HEARD.0),
        ("true", HEARD.0),
        ("18446744073709551615", HEARD.0),
        ("9223372036854775807", HEARD.0),
        ("-9223372036854775808", HEARD.0),
        ("1e300", HEARD.0),
        ("[]", HEARD.0),
    ];
    for (written, ms) in cases {
        assert_eq!(publication(&rules, format!(r#"{{"t":{written}}}"#)).timestamp.0, ms, "{written}");
    }
    assert_eq!(publication(&rules, "{}").timestamp, HEARD);
}

#[test]
fn tags_are_printed_and_failing_ones_are_absent() {
    let tags = ["s", "n", "b", "d", "o", "missing", "long"];
    let rules = MappingRules::new(&[PublishRule {
        tags: tags.iter().map(|tag| ((*tag).to_owned(), cel(&format!("msg.{tag}")))).collect(),
        ..rule(&["all"])
    }]);
    let message = format!(r#"{{"s":"x","n":12,"b":false,"d":0.5,"o":{{}},"long":"{}"}}"#, "l".repeat(129));
    let publication = publication(&rules, message);
    let found: Vec<(&str, &str)> = publication.tags.iter().map(|(tag, value)| (&**tag, &**value)).collect();
    assert_eq!(found, [("b", "false"), ("n", "12"), ("s", "x")]);
}

#[test]
fn data_that_fails_drops_the_message() {
    let cases = [
        "msg.missing",
        "{'a': msg.missing}",
        "[msg.a.b]",
        "1/0",
        "{'a': type(1)}",
        "{'a': 1.0/0.0}",
        "msg.a ? 1 : 2",
    ];
    for data in cases {
        let rules = MappingRules::new(&[PublishRule { data: Some(cel(data)), ..rule(&["all"]) }]);
        assert_eq!(map(&rules, r#"{"a":5}"#), Err(DropReason::Data), "{data}");
    }
}

#[test]
fn computed_maps_are_written_in_the_order_of_the_source() {
    let cases = [
        (
            "{'z': 1, 'a': {'y': -2, 'b': [true, null, 'é\\n']}}",
            r#"{"z":1,"a":{"y":-2,"b":[true,null,"é\n"]}}"#,
        ),
        ("{'z': msg.n + 1, 'a': msg.o}", r#"{"z":3,"a":{"q":1e2,"c":0}}"#),
        // What is computed as a whole has no order of its own: sorted, so that equal values give equal bytes.
        ("[msg].map(m, m.o)", r#"[{"c":0,"q":100.0}]"#),
        ("{'k' + 'z': 1, 'a': 2}", r#"{"a":2,"kz":1}"#),
        ("{1: 'int', true: 'bool'}", r#"{"1":"int","true":"bool"}"#),
        ("b'hi'", r#""aGk=""#),
        ("msg['o']", r#"{"c":0,"q":100.0}"#),
        ("msg.u", "18446744073709551615"),
        ("[msg.u]", "[18446744073709551615]"),
        ("{'u': msg.u + 0u}", r#"{"u":18446744073709551615}"#),
    ];
    for (data, json) in cases {
        let rules = MappingRules::new(&[PublishRule { data: Some(cel(data)), ..rule(&["all"]) }]);
        let publication = publication(&rules, r#"{"n":2,"o":{"q":1e2,"c":0},"u":18446744073709551615}"#);
        assert_eq!(text(&publication.data), json, "{data}");
    }
    let repeated =
        MappingRules::new(&[PublishRule { data: Some(cel("{'a': 1, 'a': 2}")), ..rule(&["all"]) }]);
    assert_eq!(map(&repeated, "{}"), Err(DropReason::Data));
}

proptest! {
    #[test]
    fn no_message_panics_and_what_goes_out_is_json(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Mapped { publication, .. }) = map(&MappingRules::new(&[rule(&["all"])]), &payload) {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&publication.data).is_ok());
        }
        prop_assert!(map(&job_updates(), &payload).is_err());
    }

    #[test]
    fn odd_members_never_panic(job_id in ".{0,20}", status in json(), data in json(), t in json()) {
        let message = format!(r#"{{"job_id":{},"status":{status},"data":{data},"t":{t}}}"#, serde_json::json!(job_id));
        let publication = publication(&job_updates(), message);
        let sent: serde_json::Value = serde_json::from_slice(&publication.data).unwrap();
        prop_assert_eq!(sent.get("job_id").and_then(|sent| sent.as_str()), Some(job_id.as_str()));
        let given: serde_json::Value = serde_json::from_str(&data).unwrap();
        prop_assert_eq!(sent.get("data"), Some(&given));
    }
}

/// Small JSON of every kind.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "[ -~é]{0,8}".prop_map(|text| serde_json::json!(text).to_string()),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(("[a-c]", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
