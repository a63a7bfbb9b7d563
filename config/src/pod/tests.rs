//! Reports stay within their bound and are read back; junk is not.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn report() -> PodReport {
    PodReport {
        uid: Some("6f2c".into()),
        boot_id: "0123456789abcdef".into(),
        version: "0.1.0".into(),
        config: ConfigReport {
            versions: vec![1],
            generation: Some(7),
            revision: Some("9f2c1e".into()),
            last_good: false,
            refused: None,
        },
        secrets: SecretsReport::default(),
        capacity: 10_000,
        connections: 12,
        handshakes_per_second: 1.5,
        outbound_bytes: 0,
        cpu: Cpu { used_millis: 20, available_millis: 2000 },
        delivering: true,
        phase: Phase::Serving,
        terminating: false,
        remaining: 12,
    }
}

#[test]
fn a_report_is_read_as_it_was_sent_and_more_in_it_is_ignored() {
    let json = report().to_json();
    assert_eq!(PodReport::read(&json), Ok(report()));
    let mut newer: serde_json::Value = serde_json::from_slice(&json).unwrap();
    newer["order"] = serde_json::json!({"id": "a"});
    assert_eq!(newer["bootId"], "0123456789abcdef");
    assert_eq!(newer["cpu"]["availableMillis"], 2000);
    assert_eq!(PodReport::read(newer.to_string().as_bytes()), Ok(report()));
}

#[test]
fn junk_is_no_report() {
    for junk in ["", "null", "[]", "{}", "{\"version\":1}", "<html>"] {
        assert_eq!(PodReport::read(junk.as_bytes()), Err(Unreadable::Malformed), "{junk}");
    }
    let padded = [report().to_json(), vec![b' '; REPORT_BYTES]].concat();
    assert_eq!(PodReport::read(&padded), Err(Unreadable::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_report_never_outgrows_its_bound(
        problems in 0..400_usize, missing in 0..400_usize, secrets in 0..40_usize, keys in 0..40_usize, length in 1..253_usize, word in "[a-z\"ä\u{1}]"
    ) {
        let name = word.repeat(length);
        let mut report = report();
        let problem = Fault { path: name.repeat(8), message: name.repeat(8) };
        report.config.refused = Some(Refused { generation: None, problems: vec![problem; problems], more: 1 });
        let absent = MissingSecret { path: name.repeat(8), name: name.clone(), key: name.clone() };
        report.secrets.missing = vec![absent; missing];
        let loaded = LoadedSecret { name: name.clone(), keys: vec![name.clone(); keys], loaded_at: "2026-11-21T10:02:00Z".into() };
        report.secrets.loaded = vec![loaded; secrets];
        let json = report.to_json();
        prop_assert!(json.len() <= REPORT_BYTES, "{}", json.len());
        let read = PodReport::read(&json).unwrap();
        let refused = read.config.refused.unwrap();
        prop_assert_eq!(refused.problems.len() + refused.more as usize, problems + 1);
        let told = read.secrets.missing.len() + read.secrets.loaded.len();
        prop_assert!(told + read.secrets.more as usize >= missing + secrets);
    }
}
