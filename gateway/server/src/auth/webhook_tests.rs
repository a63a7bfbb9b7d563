//! Against an application that answers as it is told.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use rtgw_config::checked::{AuthWebhook, Secret};
use serde_json::json;

use super::*;
use crate::outbound::tests::{Server, answer};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn asking<'q>(credential: &'q str, query: &'q str) -> Question<'q> {
    Question { credential, place: Place::ApiKeyHeader, endpoint: "ws", ip: [10, 0, 0, 7].into(), query }
}

fn webhook(server: &Server) -> Webhook {
    let settings = AuthWebhook {
        url: server.url("/rt/auth"),
        timeout: Duration::from_secs(10),
        cache_for: Duration::from_secs(60),
        max_in_flight: 2,
        secret: Some(Secret(b"a secret".to_vec())),
    };
    Webhook::new(&settings, Outbound::new())
}

/// An application that says `body` with `status`.
async fn saying(status: &'static str, body: String) -> (Server, Webhook) {
    let server = Server::start(move |_, _, _| {
        let body = body.clone();
        async move { answer(status, &body) }
    })
    .await;
    let webhook = webhook(&server);
    (server, webhook)
}

fn later(seconds: i64) -> i64 {
    clock::unix_seconds() + seconds
}

#[tokio::test]
async fn a_good_answer_is_asked_for_once() {
    let exp = later(600);
    let body =
        json!({"sub": "ann", "claims": {"role": "admin", "sub": "mallory", "n": 1}, "exp": exp}).to_string();
    let (server, webhook) = saying("200 OK", body).await;
    let question = asking("api-key-1", "a=1&b=%20&a=2");
    let verified = webhook.verify(&question, clock::wall()).await.unwrap();
    let claims: Value = serde_json::from_str(&verified.claims).unwrap();
    assert_eq!(claims["sub"], "ann", "the member wins over the claim");
    assert_eq!(
        (&claims["role"], &claims["n"], verified.expires),
        (&json!("admin"), &json!(1), Some(Timestamp(exp * 1000)))
    );
    assert_eq!(webhook.verify(&question, clock::wall()).await.unwrap(), verified);
    assert_eq!(server.requests(), 1, "remembered");
    let (head, sent) = server.seen.lock()[0].clone();
    assert!(head.starts_with("post /rt/auth ") && head.contains("x-rtgw-signature-256: "));
    let expected = json!({"credential": "api-key-1", "place": "apiKeyHeader", "endpoint": "ws", "ip": "10.0.0.7",
                          "query": {"a": "1", "b": " "}});
    assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), expected);
    // Whatever the application may decide by is another question.
    for other in
        [asking("api-key-2", question.query), asking("api-key-1", ""), Question { endpoint: "x", ..question }]
    {
        let before = server.requests();
        webhook.verify(&other, clock::wall()).await.unwrap();
        assert_eq!(server.requests(), before + 1);
    }
    // Remembered, but not beyond its end.
    let after = Timestamp(exp * 1000);
    assert_eq!(webhook.verify(&question, after).await, Err(TokenError::Expired.into()));
    assert!(!format!("{question:?} {webhook:?}").contains("api-key"));
}

#[tokio::test]
async fn refusals_are_told_from_silence() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (server, webhook) = saying(status, "{}".into()).await;
        for _ in 0..3 {
            assert_eq!(webhook.verify(&asking("x", ""), NOW).await, Err(AuthError::Unknown));
        }
        assert_eq!(server.requests(), 1, "briefly remembered");
    }
    for status in ["500 Oops", "404 Not Found", "302 Found", "204 No Content"] {
        let (server, webhook) = saying(status, String::new()).await;
        for _ in 0..3 {
            assert_eq!(webhook.verify(&asking("x", ""), NOW).await, Err(AuthError::Unavailable), "{status}");
        }
        assert_eq!(server.requests(), 3, "asked again: it may be up");
    }
}

#[tokio::test]
async fn wrong_answers_let_nobody_in() {
    for body in [
        String::new(),
        "null".into(),
        "true".into(),
        "[]".into(),
        "\"ann\"".into(),
        "{\"sub\":5}".into(),
        "{\"claims\":[]}".into(),
        "{\"exp\":\"soon\"}".into(),
        "{\"exp\":-1}".into(),
        "{\"sub\":\"a\",\"sub\":\"b\"}".into(),
        "{\"sub\":\"a\"".into(),
        format!("{{\"claims\":{{\"d\":{}{}}}}}", "[".repeat(40), "]".repeat(40)),
        json!({"sub": "a", "claims": {"x": "y".repeat(7000)}}).to_string(),
        json!({"sub": "a", "x": "y".repeat(70_000)}).to_string(),
    ] {
        let (_server, webhook) = saying("200 OK", body.clone()).await;
        let verdict = webhook.verify(&asking("x", ""), NOW).await;
        assert_eq!(verdict, Err(AuthError::Unavailable), "{}", &body[..body.len().min(80)]);
    }
    let (_server, webhook) = saying("200 OK", json!({"sub": "a", "exp": later(-5)}).to_string()).await;
    assert_eq!(webhook.verify(&asking("x", ""), clock::wall()).await, Err(TokenError::Expired.into()));
    let (_server, webhook) = saying("200 OK", "{}".into()).await;
    let nobody = webhook.verify(&asking("x", ""), NOW).await.unwrap();
    assert_eq!(
        (nobody.claims.as_str(), nobody.expires),
        ("{}", None),
        "auth.identity refuses who has no user"
    );
}

/// Answers when it is let go.
async fn slow() -> (Server, Webhook, Arc<tokio::sync::Semaphore>) {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = Server::start(move |_, _, _| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            answer("200 OK", "{\"sub\":\"ann\"}")
        }
    })
    .await;
    let webhook = webhook(&server);
    (server, webhook, gate)
}

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap();
}

async fn counted(asked: &AtomicUsize, call: impl Future<Output = Verdict>) -> Verdict {
    asked.fetch_add(1, Ordering::SeqCst);
    call.await
}

#[tokio::test]
async fn those_who_ask_together_share_a_call() {
    let (server, webhook, gate) = slow().await;
    let asked = AtomicUsize::new(0);
    let all = futures_util::future::join_all(
        (0..100).map(|_| counted(&asked, async { webhook.verify(&asking("same", ""), NOW).await })),
    );
    let release = async {
        until(|| asked.load(Ordering::SeqCst) == 100 && server.requests() == 1).await;
        gate.add_permits(1);
    };
    let (verdicts, ()) = tokio::join!(all, release);
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_call_outlives_its_first_asker_and_nobodys_call_ends() {
    let (server, webhook, gate) = slow().await;
    let webhook = Arc::new(webhook);
    let start = |credential: &'static str| {
        let webhook = Arc::clone(&webhook);
        tokio::spawn(async move { webhook.verify(&asking(credential, ""), NOW).await })
    };
    let first = start("same");
    until(|| server.requests() == 1).await;
    let second = start("same");
    tokio::task::yield_now().await;
    first.abort();
    let _aborted = first.await;
    gate.add_permits(1);
    assert!(second.await.unwrap().is_ok(), "the second has the first one's answer");
    assert_eq!(server.requests(), 1);

    // Two askers that leave give their places back; otherwise nobody could be asked about any more.
    for _ in 0..20 {
        let leaves = start("leaves");
        until(|| webhook.0.state.lock().asked.values().any(|call| call.upgrade().is_some())).await;
        leaves.abort();
        let _aborted = leaves.await;
    }
    gate.add_permits(100);
    assert!(webhook.verify(&asking("after", ""), NOW).await.is_ok());
}

#[tokio::test]
async fn more_than_may_be_asked_at_once_are_refused() {
    let (server, webhook, gate) = slow().await;
    let credentials: Vec<String> = (0..50).map(|n| format!("key-{n}")).collect();
    let asked = AtomicUsize::new(0);
    let questions: Vec<Question<'_>> = credentials.iter().map(|credential| asking(credential, "")).collect();
    let all = futures_util::future::join_all(
        questions.iter().map(|question| counted(&asked, webhook.verify(question, NOW))),
    );
    let release = async {
        until(|| asked.load(Ordering::SeqCst) == 50 && server.requests() == 2).await;
        gate.add_permits(100);
    };
    let (verdicts, ()) = tokio::join!(all, release);
    let refused = verdicts.iter().filter(|verdict| **verdict == Err(AuthError::Unavailable)).count();
    assert_eq!((refused, server.requests()), (40, 10), "two ask, eight wait, the others come back later");
}

#[tokio::test]
async fn a_silent_application_costs_its_time_and_no_more() {
    let server = Server::start(|_, _, _| std::future::pending()).await;
    let settings = AuthWebhook {
        url: server.url("/"),
        timeout: Duration::from_millis(200),
        cache_for: Duration::from_secs(60),
        max_in_flight: 64,
        secret: None,
    };
    let webhook = Webhook::new(&settings, Outbound::new());
    let started = std::time::Instant::now();
    assert_eq!(webhook.verify(&asking("x", ""), NOW).await, Err(AuthError::Unavailable));
    assert!(started.elapsed() < Duration::from_secs(5));
}
