//! Published keys: what is taken from a set, when it is fetched, and what happens while it cannot be.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_config::checked::{Algorithm, Jwks};
use rtgw_config::public_key::PublicKey;
use rtgw_config::url::HttpUrl;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::jwks::{BadSet, PublishedKeys};
use super::key_set::{KeySet, Lookup};
use crate::outbound::tests::{Server, answer};
use crate::outbound::{Outbound, OutboundError};

const ED: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED_ALONE: &[Algorithm] = &[Algorithm::EdDsa];

fn ed(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": ED, "kid": kid, "use": "sig", "alg": "EdDSA"})
}

fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn read(keys: &[Value], algorithms: &[Algorithm]) -> Result<usize, BadSet> {
    PublishedKeys::read(set(keys).as_bytes(), algorithms).map(|keys| keys.len())
}

#[test]
fn only_keys_that_can_sign_are_taken() {
    let with = |name: &str, value: Value| {
        let mut key = ed("a");
        key[name] = value;
        key
    };
    let one = [ed("a")];
    assert_eq!(read(&one, ED_ALONE), Ok(1));
    for good in [
        with("use", Value::Null),
        with("key_ops", json!(["verify"])),
        with("alg", Value::Null),
        with("d", json!("x")),
    ] {
        assert_eq!(read(&[good], ED_ALONE), Ok(1));
    }
    for bad in [
        with("use", json!("enc")),
        with("key_ops", json!(["encrypt"])),
        with("alg", json!("ES256")),
        with("alg", json!("none")),
        with("alg", json!("HS256")),
        with("alg", json!(5)),
        with("crv", json!("X25519")),
        with("crv", json!("P-256")),
        with("kty", json!("RSA")),
        with("x", json!("AAAA")),
        with("x", json!("not base64!")),
        with("x", Value::Null),
        json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": ED, "y": "AAAA"}),
        json!({}),
        json!(5),
    ] {
        assert_eq!(read(std::slice::from_ref(&bad), ED_ALONE), Err(BadSet::NoneFits), "{bad}");
        assert_eq!(read(&[bad, ed("a")], ED_ALONE), Ok(1), "the others count");
    }
    assert_eq!(read(&one, &[Algorithm::Rs256, Algorithm::Es256]), Err(BadSet::NoneFits));
    assert_eq!(read(&vec![ed("a"); 100], ED_ALONE), Ok(100));
    assert_eq!(read(&vec![ed("a"); 101], ED_ALONE), Err(BadSet::TooMany));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[}"#] {
        assert_eq!(PublishedKeys::read(bad.as_bytes(), ED_ALONE), Err(BadSet::Shape), "{bad}");
    }
}

/// RFC 7518, section 6.2.1.2: the coordinates of a curve are as long as its field, zeros included.
#[test]
fn keys_of_every_curve_are_taken() {
    for (curve, length, algorithm) in
        [("P-256", 32, Algorithm::Es256), ("P-384", 48, Algorithm::Es384), ("P-521", 66, Algorithm::Es512)]
    {
        let number = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![1; bytes]);
        let key = |x, y| json!({"kty": "EC", "crv": curve, "x": number(x), "y": number(y), "kid": "a"});
        let taken = PublishedKeys::read(set(&[key(length, length)]).as_bytes(), &[algorithm]).unwrap();
        assert_eq!(taken.find(Some("a"), algorithm).len(), 1, "{curve}");
        for (x, y) in [(length - 1, length), (length, length - 1), (length + 1, length), (0, 0)] {
            assert_eq!(read(&[key(x, y)], &[algorithm]), Err(BadSet::NoneFits), "{curve}");
        }
        let others: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(read(&[key(length, length)], &others), Err(BadSet::NoneFits), "{curve}");
    }
}

#[test]
fn a_key_is_found_by_its_name_and_algorithm() {
    let mut unnamed = ed("x");
    unnamed.as_object_mut().unwrap().remove("kid");
    let (n, e) = (ED.repeat(8), "AQAB");
    let rsa = json!({"kty": "RSA", "kid": "r", "n": n, "e": e});
    let ps = json!({"kty": "RSA", "kid": "p", "n": n, "e": e, "alg": "PS256"});
    let all = [Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
    let keys = |list: &[Value]| PublishedKeys::read(set(list).as_bytes(), &all).unwrap();
    let named = keys(&[ed("a"), ed("b"), rsa, ps]);
    let count = |kid, algorithm| named.find(kid, algorithm).len();
    assert_eq!((count(Some("a"), Algorithm::EdDsa), count(Some("c"), Algorithm::EdDsa)), (1, 0));
    assert_eq!((count(None, Algorithm::EdDsa), count(Some("a"), Algorithm::Rs256)), (2, 0));
    assert_eq!((count(Some("r"), Algorithm::Rs256), count(Some("r"), Algorithm::Ps256)), (1, 1));
    assert_eq!(
        (count(Some("p"), Algorithm::Ps256), count(Some("p"), Algorithm::Rs256)),
        (1, 0),
        "`alg` binds the key"
    );
    for kid in ["../../etc/passwd", "' OR 1=1 --", "", &"x".repeat(7000)] {
        assert_eq!(count(Some(kid), Algorithm::EdDsa), 0);
    }
    let nameless = keys(&[unnamed, ed("a")]);
    assert_eq!(nameless.find(Some("z"), Algorithm::EdDsa).len(), 1, "a key without a name may be any");
    assert_eq!(
        keys(&vec![ed("a"); 50]).find(None, Algorithm::EdDsa).len(),
        4,
        "a token must not cost fifty verifications"
    );
    assert_eq!(keys(&vec![ed("a"); 50]).find(Some("a"), Algorithm::EdDsa).len(), 4);
}

/// What a fetch gives, and how many there were.
#[derive(Clone, Default)]
struct Source {
    answer: Arc<Mutex<Option<String>>>,
    fetches: Arc<AtomicUsize>,
    /// How long one takes.
    takes: Duration,
}

impl Source {
    fn keys(&self) -> Arc<KeySet> {
        let source = self.clone();
        let jwks = Jwks {
            url: HttpUrl::parse("https://id.example.com/jwks.json").unwrap(),
            refresh: Duration::from_secs(300),
            stale_for: Duration::from_secs(3600),
        };
        let fetch = move || {
            source.fetches.fetch_add(1, Ordering::Relaxed);
            let source = source.clone();
            Box::pin(async move {
                tokio::time::sleep(source.takes).await;
                source.answer.lock().clone().map(Bytes::from).ok_or(OutboundError::Status(500))
            }) as _
        };
        Arc::new(KeySet::fetched_by(Box::new(fetch), "app", &jwks, ED_ALONE))
    }

    fn say(&self, kids: &[&str]) {
        *self.answer.lock() = Some(set(&kids.iter().map(|kid| ed(kid)).collect::<Vec<_>>()));
    }

    fn fail(&self) {
        *self.answer.lock() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

fn keep(keys: &Arc<KeySet>) -> CancellationToken {
    let stop = CancellationToken::new();
    let (keys, until) = (Arc::clone(keys), stop.clone());
    tokio::spawn(async move { keys.keep(&until).await });
    stop
}

async fn ask(keys: &KeySet, kid: &str) -> Lookup {
    keys.find(Some(kid), Algorithm::EdDsa).await
}

fn found() -> Lookup {
    let key = URL_SAFE_NO_PAD.decode(ED).unwrap();
    Lookup::Keys(vec![PublicKey::ed25519(&key).unwrap()])
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_fetches_once_in_half_a_minute() {
    let source = Source { takes: Duration::from_millis(50), ..Source::default() };
    source.say(&["a"]);
    let keys = source.keys();
    let _stop = keep(&keys);
    pass(1).await;
    assert_eq!((ask(&keys, "a").await, source.fetches()), (found(), 1));
    // Ten minutes of bad tokens, a hundred at once each second: at most one fetch per half minute, refreshes included.
    for _ in 0..600 {
        let asked = futures_util::future::join_all((0..100).map(|n| {
            let (keys, kid) = (Arc::clone(&keys), format!("bad-{n}"));
            async move { ask(&keys, &kid).await }
        }));
        assert!(asked.await.iter().all(|lookup| *lookup == Lookup::Unknown));
        assert_eq!(ask(&keys, "a").await, found(), "good tokens do not wait");
        pass(1).await;
    }
    assert!((18..=22).contains(&source.fetches()), "{}", source.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let source = Source { takes: Duration::from_millis(50), ..Source::default() };
    source.say(&["old"]);
    let keys = source.keys();
    let _stop = keep(&keys);
    pass(60).await;
    source.say(&["old", "new"]);
    // The first token that is signed with it waits for the fetch and passes; so do all that come meanwhile.
    let both = tokio::join!(ask(&keys, "new"), ask(&keys, "new"));
    assert_eq!((both, source.fetches()), ((found(), found()), 2));
    source.say(&["new"]);
    pass(301).await;
    assert_eq!(
        (ask(&keys, "old").await, source.fetches() >= 3),
        (Lookup::Unknown, true),
        "withdrawn with the next refresh"
    );
    assert_eq!(ask(&keys, "new").await, found());
}

#[tokio::test(start_paused = true)]
async fn of_two_loops_over_the_same_keys_one_fetches() {
    let source = Source::default();
    source.say(&["a"]);
    let keys = source.keys();
    let (old, _new) = (keep(&keys), keep(&keys));
    pass(1000).await;
    let alone = source.fetches();
    assert!((3..=5).contains(&alone), "{alone}");
    old.cancel();
    pass(1000).await;
    assert!((alone + 3..=alone + 6).contains(&source.fetches()), "the other goes on");
    assert_eq!(ask(&keys, "a").await, found());
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_takes_over_fetches_when_it_is_due() {
    let source = Source { takes: Duration::from_millis(50), ..Source::default() };
    source.say(&["a"]);
    let keys = source.keys();
    let mut stop = keep(&keys);
    pass(1).await;
    for _ in 0..100 {
        stop.cancel();
        stop = keep(&keys);
        pass(2).await;
    }
    assert_eq!((ask(&keys, "a").await, source.fetches()), (found(), 1), "201 of 300 seconds have passed");
    pass(100).await;
    assert_eq!(source.fetches(), 2, "the refresh is not put off");
    // Stopped in the middle of a fetch: the next tries it again, and a token that waits for it is answered.
    let middle = source.fetches();
    while source.fetches() == middle {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    source.say(&["a", "b"]);
    let _stop = keep(&keys);
    assert_eq!(ask(&keys, "b").await, found());
    // While the address does not answer, taking over makes no more attempts than one loop would.
    source.fail();
    let mut stop = keep(&keys);
    _stop.cancel();
    pass(400).await;
    // Each attempt is stopped in the middle.
    for _ in 0..20 {
        let failed = source.fetches();
        while source.fetches() == failed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        stop = keep(&keys);
        let began = tokio::time::Instant::now();
        while source.fetches() == failed + 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        stop = keep(&keys);
        assert!(began.elapsed() > Duration::from_secs(29), "{:?}", began.elapsed());
    }
    assert_eq!(ask(&keys, "a").await, found());
}

#[tokio::test(start_paused = true)]
async fn stale_keys_count_for_a_while() {
    let source = Source::default();
    source.say(&["a"]);
    let keys = source.keys();
    let stop = keep(&keys);
    pass(10).await;
    source.fail();
    pass(3800).await;
    assert_eq!(ask(&keys, "a").await, found());
    assert_eq!(ask(&keys, "b").await, Lookup::Unknown);
    pass(200).await;
    assert_eq!(ask(&keys, "a").await, Lookup::Unavailable, "5m and 1h are over");
    let fetches = source.fetches();
    source.say(&["a"]);
    pass(31).await;
    assert_eq!(ask(&keys, "a").await, found(), "back within half a minute");
    assert!(fetches < 150, "retries slow down: {fetches}");
    stop.cancel();
    pass(1).await;
    let fetches = source.fetches();
    pass(1000).await;
    assert_eq!(source.fetches(), fetches, "nothing is fetched after the end");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_set_is_a_failure() {
    let source = Source::default();
    source.say(&["a"]);
    let keys = source.keys();
    let _stop = keep(&keys);
    pass(10).await;
    for nonsense in ["", "{}", "<html>", r#"{"keys":[]}"#] {
        *source.answer.lock() = Some(nonsense.to_owned());
        let before = source.fetches();
        pass(600).await;
        assert!(source.fetches() > before);
        assert_eq!(ask(&keys, "a").await, found(), "{nonsense}");
    }
}

/// A real server that is down at first, then rotates its key.
#[tokio::test]
async fn keys_come_from_a_server() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let jwks = |url: HttpUrl| Jwks { url, refresh: Duration::from_secs(300), stale_for: Duration::ZERO };
    let down = HttpUrl::parse(&format!("http://{address}/jwks.json")).unwrap();
    let keys = Arc::new(KeySet::new("app", &jwks(down), ED_ALONE, Outbound::new()));
    assert_eq!(ask(&keys, "a").await, Lookup::Unavailable, "before anything was fetched");
    let _stop = keep(&keys);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ask(&keys, "a").await, Lookup::Unavailable, "not 401: nobody knows");

    let server = Server::start(|_, _, _| async { answer("200 OK", &set(&[ed("a")])) }).await;
    let keys = Arc::new(KeySet::new("app", &jwks(server.url("/jwks.json")), ED_ALONE, Outbound::new()));
    let _stop = keep(&keys);
    while ask(&keys, "a").await != found() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for n in 0..1000 {
        assert_eq!(ask(&keys, &format!("bad-{n}")).await, Lookup::Unknown);
    }
    assert_eq!(server.requests(), 1, "a thousand bad tokens later");
}
