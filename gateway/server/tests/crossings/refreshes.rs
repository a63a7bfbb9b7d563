//! A newer token makes nobody somebody else, and takes away what it no longer allows, whatever is under way.

use serde_json::{Value, json};

use crate::stage::WIRES;
use crate::{Play, manifest, member, token};

fn refresh(claims: &Value) -> Value {
    json!({"type": "refresh", "id": "refresh", "data": {"token": token(claims)}})
}

#[tokio::test]
async fn no_refresh_crosses() {
    let mut play = Play::begin(&manifest(), "refreshes").await;
    let subscribe = json!({"type": "subscribe", "id": "subscribe", "data": {"channel": "workspace:w1"}});
    let metrics = json!({"type": "request_metrics", "id": "metrics", "metric_type": "executions"});
    let tries = [
        ("another user", json!({"sub": "ann", "workspace_id": "w2"}), "identity_changed"),
        ("another workspace", json!({"sub": "eve", "workspace_id": "w1"}), "identity_changed"),
        ("the victim's identity", json!({"sub": "ann", "workspace_id": "w1"}), "identity_changed"),
        ("a list that begins alike", json!({"sub": "eve", "workspace_id": ["w2", "w1"]}), "forbidden"),
        ("no user", json!({"workspace_id": "w1"}), "forbidden"),
    ];
    for wire in WIRES {
        for (name, claims, expected) in &tries {
            assert_eq!(play.attacker(name, wire, &member(), "").await, 101);
            let attacker = play.attackers.last_mut().unwrap();
            attacker.next().await;
            // Nothing waits for an answer: what was asked before and after the refresh is decided for who they are.
            for command in [&subscribe, &refresh(claims), &subscribe, &metrics] {
                attacker.send(command).await;
            }
            let mut codes = Vec::new();
            for _ in 0..4 {
                let answer = attacker.next().await.unwrap();
                codes.push(answer["data"]["code"].as_str().unwrap_or("?").to_owned());
            }
            assert_eq!(codes, ["forbidden", expected, "forbidden", "not_available"], "{name} ({wire:?})");
        }
    }
    assert_eq!(play.end().await, [""; 0]);
}

#[tokio::test]
async fn what_a_refresh_takes_away_is_heard_no_more() {
    let mut play = Play::begin(&manifest(), "taken").await;
    for wire in WIRES {
        let guest = json!({"sub": "eve", "workspace_id": "w2", "workspaces": ["w1"]});
        assert_eq!(play.attacker("a guest that is one no more", wire, &guest, "").await, 101);
        let attacker = play.attackers.last_mut().unwrap();
        attacker.next().await;
        let subscribe = json!({"type": "subscribe", "data": {"channel": "workspace:w1"}});
        assert_eq!(attacker.ask(&subscribe).await, "subscribed");
        // Asked for again while the refresh is under way: whichever comes first, it is lost in the end.
        attacker.send(&refresh(&member())).await;
        attacker.send(&subscribe).await;
        attacker.catch_up().await;
        let told = attacker.heard.join(" ");
        assert!(told.contains("permission_changed") && told.contains("forbidden"), "{told}");
    }
    assert_eq!(play.end().await, [""; 0]);
}
