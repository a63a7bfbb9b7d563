//! A spec with every list at its bound, and patterns and paths as long as they may be: rules have a budget when they run, too.

use serde_json::{Map, Value, json};

pub(crate) fn spec() -> Value {
    json!({
        "channels": (0..256).map(channel).collect::<Vec<_>>(),
        "commands": (0..128).map(command).collect::<Map<_, _>>(),
        "sources": (0..64).map(source).collect::<Vec<_>>(),
        "endpoints": (0..16).map(endpoint).collect::<Vec<_>>(),
        "auth": {"anonymous": "Allow", "apiKeys": (0..32).map(api_key).collect::<Vec<_>>()},
    })
}

fn many(make: impl FnMut(usize) -> String) -> Vec<String> {
    (0..64).map(make).collect()
}

fn channel(n: usize) -> Value {
    json!({
        "pattern": format!("{n}:{}:{{workspace_id}}:{}", "x".repeat(120), "x".repeat(100)),
        "subscribe": "claims.workspace_id == workspace_id",
        "filters": {"document_ids": "document_id"},
        "delivery": {"maxRate": "5/s", "conflate": "step", "batch": "20ms"},
        "history": {"mode": "Cache", "ttl": "1h"},
        "presence": {"enabled": true, "joinLeave": true},
    })
}

fn command(n: usize) -> (String, Value) {
    let webhook = json!({
        "url": format!("https://realtime.app.example.com/v1/commands/{n}"),
        "timeout": "5s",
        "secretRef": {"name": "chat-auth", "key": "webhook"},
    });
    (format!("application.command_{n}"), json!({"webhook": webhook}))
}

fn source(n: usize) -> Value {
    let rule = |kind: usize| {
        json!({
            "when": format!("msg.kind == {kind}"),
            "channels": ["0:{msg.id}"],
            "tags": {"document_id": "msg.id"},
        })
    };
    json!({
        "name": format!("source-{n}"),
        "ingest": "OnePod",
        "redisPubSub": {
            "channels": many(|n| format!("application:updates:{n}")),
            "patterns": many(|n| format!("application:{n}:{{workspace_id}}")),
            "redis": {"url": "rediss://app@cache.example.com:6379/1"},
        },
        "publish": (0..16).map(rule).collect::<Vec<_>>(),
    })
}

fn endpoint(n: usize) -> Value {
    let long = format!("{}/{}", "x".repeat(120), "x".repeat(90));
    let pages = |what: &str| many(|page| format!("/endpoint-{n}/{what}/{page}/{long}"));
    json!({
        "name": format!("endpoint-{n}"),
        "path": format!("/endpoint-{n}/{long}"),
        "stats": {"paths": pages("stats")},
        "health": {"paths": pages("health")},
        "heartbeat": {"interval": "25s", "timeout": "1m"},
        "auth": {"allowedOrigins": many(|n| format!("https://app-{n}.example.com"))},
    })
}

fn api_key(n: usize) -> Value {
    json!({
        "name": format!("backend-{n}"),
        "secretRef": {"name": "chat-auth", "key": "backend"},
        "scopes": many(|n| format!("publish:application:workspace-{n}:*")),
    })
}
