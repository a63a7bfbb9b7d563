//! Asks the application about credentials that no issuer made. Good answers are remembered for a while, refusals briefly; those who
//! ask the same at the same time share one call.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use rtgw_config::checked;
use rtgw_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::credential::Place;
use super::jws::members;
use super::remembered::{Digest, Remembered};
use super::token_error::TokenError;
use super::verdict::{AuthError, Verified};
use crate::clock;
use crate::outbound::{Outbound, OutboundError, Target};
use crate::pace::Pace;

/// How long a refusal counts: a new user waits no longer, and a client that tries again at once asks nobody.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// Answers that are remembered, and their bytes; refusals are kept apart, so that bad credentials displace no good ones.
const REMEMBERED: usize = 50_000;
const REMEMBERED_BYTES: usize = 32 * 1024 * 1024;
/// Largest claims, bytes; as much as a token has room for.
const CLAIMS_BYTES: usize = 6 * 1024;

static COMPLAINTS: Pace = Pace::every_ms(10_000);

/// A question to the application, as it is sent.
#[derive(Clone, Copy, Serialize)]
pub struct Question<'q> {
    /// The credential as it came.
    pub credential: &'q str,
    /// Where it stood.
    #[serde(serialize_with = "as_word")]
    pub place: Place,
    /// The endpoint's name.
    pub endpoint: &'q str,
    /// The client's address.
    pub ip: IpAddr,
    /// The query without credentials: a JSON object is made of it, the first of repeated names.
    #[serde(serialize_with = "as_object")]
    pub query: &'q str,
}

/// Without the credential and the query, which may be secret.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({:?} at {})", self.place, self.endpoint)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn as_word<S: serde::Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match place {
        Place::Header => "header",
        Place::Query => "query",
        Place::Subprotocol => "subprotocol",
        Place::ApiKeyHeader => "apiKeyHeader",
        Place::Cookie => "cookie",
        Place::Message => "message",
    })
}

fn as_object<S: serde::Serializer>(query: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        object.entry(name).or_insert_with(|| value.into());
    }
    object.serialize(serializer)
}

type Verdict = Result<Verified, AuthError>;
type Call = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// The application, ready to be asked.
pub(super) struct Webhook(Arc<Inner>);

struct Inner {
    outbound: Outbound,
    target: Target,
    settings: checked::AuthWebhook,
    state: Mutex<State>,
}

struct State {
    good: Remembered<Verified>,
    refused: Remembered<AuthError>,
    /// Calls under way. One whose askers have all gone is gone itself.
    asked: HashMap<Digest, WeakShared<Call>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook")
    }
}

impl Webhook {
    /// Prepares `webhook`; what `before` has by the same settings it goes on with, answers included.
    pub(super) fn renewed(
        webhook: &checked::AuthWebhook,
        before: Option<&Self>,
        outbound: &Outbound,
    ) -> Self {
        match before.filter(|before| before.0.settings == *webhook) {
            Some(before) => Self(Arc::clone(&before.0)),
            None => Self::new(webhook, outbound.clone()),
        }
    }

    pub(super) fn new(webhook: &checked::AuthWebhook, outbound: Outbound) -> Self {
        let in_flight = usize::try_from(webhook.max_in_flight).unwrap_or(usize::MAX);
        Self(Arc::new(Inner {
            outbound,
            target: Target::new(&webhook.url, in_flight),
            settings: webhook.clone(),
            state: Mutex::new(State {
                good: Remembered::new(REMEMBERED, REMEMBERED_BYTES),
                refused: Remembered::new(REMEMBERED, REMEMBERED_BYTES),
                asked: HashMap::new(),
            }),
        }))
    }

    /// What the application says.
    ///
    /// # Errors
    /// It refuses, or cannot be asked.
    pub(super) async fn verify(&self, question: &Question<'_>, at: Timestamp) -> Verdict {
        // The whole question: an application may decide by any part of it.
        let Ok(body) = serde_json::to_vec(question) else { return Err(AuthError::Unavailable) };
        let mut key: Digest = [0; 32];
        key.copy_from_slice(digest(&SHA256, &body).as_ref());
        let call = match self.known_or_call(key, body) {
            Ok(verdict) => return still_good(verdict, at),
            Err(call) => call,
        };
        still_good(call.await, at)
    }

    /// A remembered verdict, or the call that will bring one.
    fn known_or_call(&self, key: Digest, body: Vec<u8>) -> Result<Verdict, Shared<Call>> {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        if let Some(verified) = state.good.get(&key, now) {
            return Ok(Ok(verified));
        }
        if let Some(error) = state.refused.get(&key, now) {
            return Ok(Err(error));
        }
        if let Some(call) = state.asked.get(&key).and_then(WeakShared::upgrade) {
            return Err(call);
        }
        let inner = Arc::clone(&self.0);
        let call: Call = Box::pin(async move {
            let verdict = inner.ask(body.into()).await;
            inner.remember(key, &verdict);
            verdict
        });
        let call = call.shared();
        // Those that nobody waits for any more are cleared when there are many; the target bounds how many can be waited for.
        if state.asked.len() >= 1024 {
            state.asked.retain(|_, call| call.upgrade().is_some());
        }
        if let Some(weak) = call.downgrade() {
            state.asked.insert(key, weak);
        }
        Err(call)
    }
}

fn still_good(verdict: Verdict, at: Timestamp) -> Verdict {
    match verdict {
        Ok(verified) if verified.expires.is_some_and(|expires| expires <= at) => {
            Err(TokenError::Expired.into())
        }
        verdict => verdict,
    }
}

impl Inner {
    async fn ask(&self, body: Bytes) -> Verdict {
        let secret = self.settings.secret.as_ref().map(|secret| secret.0.as_slice());
        let problem = match self.outbound.post_json(&self.target, body, self.settings.timeout, secret).await {
            Ok(answer) => match read(&answer) {
                Ok(verified) => return Ok(verified),
                Err(problem) => problem.to_owned(),
            },
            Err(OutboundError::Status(401 | 403)) => return Err(AuthError::Unknown),
            Err(error) => error.to_string(),
        };
        if let Some(unsaid) = COMPLAINTS.due() {
            tracing::warn!(
                problem,
                unsaid,
                "auth.webhook gives no verdict; clients are told to come back later"
            );
        }
        Err(AuthError::Unavailable)
    }

    fn remember(&self, key: Digest, verdict: &Verdict) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.asked.remove(&key);
        match verdict {
            Ok(verified) => {
                let left = verified.expires.map(|expires| expires.0 - clock::wall().0);
                let left = left.map_or(self.settings.cache_for, |left| {
                    Duration::from_millis(left.try_into().unwrap_or(0))
                });
                let until = now + left.min(self.settings.cache_for);
                state.good.put(key, verified.clone(), verified.claims.len(), until);
            }
            // The next one may find it up again.
            Err(AuthError::Unavailable) => {}
            Err(error) => state.refused.put(key, *error, 0, now + REFUSED_FOR),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    sub: Option<String>,
    claims: Option<Map<String, Value>>,
    exp: Option<f64>,
}

/// `{sub, claims, exp}` as claims: `sub` and `exp` stand among them, whatever `claims` says of them.
fn read(answer: &[u8]) -> Result<Verified, &'static str> {
    let text = std::str::from_utf8(answer).map_err(|_| "the answer is no text")?;
    members(text, |_, _| {})
        .ok_or("the answer is no JSON object, names a member twice, or is nested too deep")?;
    let answer: Answer = serde_json::from_str(text).map_err(|_| "the answer is not {sub, claims, exp}")?;
    let mut claims = answer.claims.unwrap_or_default();
    if let Some(sub) = answer.sub {
        claims.insert("sub".to_owned(), sub.into());
    }
    let exp = answer.exp.or_else(|| claims.get("exp")?.as_f64());
    if let Some(exp) = exp {
        if exp.is_nan() || exp < 0.0 {
            return Err("the answer's exp is no time in Unix seconds");
        }
        claims.insert("exp".to_owned(), exp.into());
    }
    let claims = serde_json::to_string(&claims).map_err(|_| "the answer's claims are no JSON")?;
    if claims.len() > CLAIMS_BYTES {
        return Err("the answer's claims are longer than 6 KiB");
    }
    #[expect(clippy::cast_possible_truncation, reason = "`as` stops at the largest number")]
    let expires = exp.map(|exp| Timestamp((exp * 1000.0) as i64));
    Ok(Verified { claims, expires, scopes: None })
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
