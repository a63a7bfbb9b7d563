//! `POST /v1/publish | broadcast | batch`: events from programs, through the same checks and the same broker as everybody's.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Response, StatusCode};
use rtgw_model::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Internal;
use super::body::{bad, read};
use super::caller::Caller;
use super::draft::{self, BadBody, Channels};
use crate::broker::{Appended, PublishError};
use crate::clock;
use crate::http::response;
use crate::intake::Origin;
use crate::publishing::{Checked, Draft, Idempotency, Invalid};
use crate::refusal::Refusal;

/// Most publications of a batch.
const BATCH: usize = 1000;
/// Where a key may stand besides the body.
const KEY_HEADER: &str = "idempotency-key";

/// `POST /v1/publish`.
pub(super) async fn publish(
    State(internal): State<Arc<Internal>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    answer(single(&internal, &caller, &headers, body, Channels::Either).await)
}

/// `POST /v1/broadcast`.
pub(super) async fn broadcast(
    State(internal): State<Arc<Internal>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    answer(single(&internal, &caller, &headers, body, Channels::List).await)
}

/// `POST /v1/batch`: checked whole, then published together.
pub(super) async fn batch(
    State(internal): State<Arc<Internal>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Response<Body> {
    answer(several(&internal, &caller, body).await)
}

/// Where a publication went.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Published {
    /// Its id.
    id: String,
    /// There and true where it had been published before under the same idempotency key: the id is the first one's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl Published {
    fn of(appended: &Appended) -> Self {
        Self { id: appended.id.to_string(), repeated: appended.repeated }
    }
}

/// What became of one publication of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// It went out.
    Published(Published),
    /// It did not.
    Failed {
        /// Why.
        error: Failure,
    },
}

/// Why a publication did not go out.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Failure {
    /// A word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
}

/// What became of a batch, in its order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> Response<Body> {
    match outcome {
        Ok(value) => response::json(StatusCode::OK, &value),
        Err(refusal) => response::refused(&refusal),
    }
}

async fn single(
    internal: &Internal,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    channels: Channels,
) -> Result<Published, Refusal> {
    let mut draft = draft::one(&read(body).await?, channels).map_err(|error| bad_request(&error))?;
    key_of_header(headers, &mut draft)?;
    allowed(caller, &draft, "")?;
    let checked = check(internal, caller, draft, clock::wall()).map_err(|error| bad_request(&error))?;
    let published = internal.parts.publisher.publish_once(Origin::Api, checked).await;
    published.map(|appended| Published::of(&appended)).map_err(|error| unavailable(&error))
}

/// Takes a key from the header where the body has none.
fn key_of_header(headers: &HeaderMap, draft: &mut Draft) -> Result<(), Refusal> {
    let mut given = headers.get_all(KEY_HEADER).iter();
    let (Some(key), more) = (given.next(), given.next()) else { return Ok(()) };
    let key = match (key.to_str(), more) {
        (Ok(key), None) => key,
        _ => return Err(bad("Idempotency-Key must be there once and be ASCII text")),
    };
    match &draft.idempotency {
        Some(own) if own.key != key => Err(bad("Idempotency-Key and idempotencyKey are different")),
        Some(_) => Ok(()),
        None => {
            draft.idempotency = Some(Idempotency { owner: String::new(), key: key.into() });
            Ok(())
        }
    }
}

/// Whether the caller may publish to every channel, asked before anything is said about the channels.
fn allowed(caller: &Caller, draft: &Draft, path: &str) -> Result<(), Refusal> {
    match draft.channels.iter().position(|channel| !caller.may_publish(channel)) {
        None => Ok(()),
        Some(at) => {
            let message = format!("{path}channels[{at}] fits no scope publish:PATTERN of the API key");
            Err(Refusal::new(403, "forbidden", message))
        }
    }
}

async fn several(internal: &Internal, caller: &Caller, body: Body) -> Result<Results, Refusal> {
    let drafts = draft::many(&read(body).await?, BATCH).map_err(|error| bad_request(&error))?;
    let now = clock::wall();
    for (index, draft) in drafts.iter().enumerate() {
        allowed(caller, draft, &format!("publications[{index}]."))?;
    }
    let mut checked = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let inside =
            |error: BadBody| BadBody { path: format!("publications[{index}].{}", error.path), ..error };
        checked.push(check(internal, caller, draft, now).map_err(|error| bad_request(&inside(error)))?);
    }
    let answers = internal.parts.publisher.publish_all(Origin::Api, checked).await;
    let outcome = |answer: Result<Appended, PublishError>| match answer {
        Ok(appended) => Outcome::Published(Published::of(&appended)),
        Err(error) => Outcome::Failed { error: failure(&error) },
    };
    Ok(Results { results: answers.into_iter().map(outcome).collect() })
}

fn check(internal: &Internal, caller: &Caller, mut draft: Draft, now: Timestamp) -> Result<Checked, BadBody> {
    if let Some(own) = &mut draft.idempotency {
        own.owner = format!("api:{}", caller.name());
    }
    let invalid = |Invalid { path, problem }| BadBody { path, problem: problem.to_string() };
    internal.parts.publisher.check(draft, now).map_err(invalid)
}

fn bad_request(error: &BadBody) -> Refusal {
    bad(error.to_string())
}

fn failure(error: &PublishError) -> Failure {
    Failure { code: "not_available", message: error.to_string() }
}

fn unavailable(error: &PublishError) -> Refusal {
    let Failure { code, message } = failure(error);
    Refusal { retry_after: Some(crate::limits::retry_after()), ..Refusal::new(503, code, message) }
}
