//! `POST /v1/publish | broadcast | batch`: events from programs, through the same checks and the same broker as everybody's.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rtgw_model::{PublicationId, Timestamp};
use serde::Serialize;

use super::Internal;
use super::draft::{self, BadBody, Channels};
use crate::broker::PublishError;
use crate::clock;
use crate::http::response;
use crate::intake::Origin;
use crate::publishing::{Checked, Draft, Invalid};
use crate::refusal::Refusal;

/// Largest body, bytes.
const BODY_BYTES: usize = 1024 * 1024;
/// How long a body may take.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Most publications of a batch.
const BATCH: usize = 1000;

/// `POST /v1/publish`.
pub(super) async fn publish(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(single(&internal, body, Channels::Either).await)
}

/// `POST /v1/broadcast`.
pub(super) async fn broadcast(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(single(&internal, body, Channels::List).await)
}

/// `POST /v1/batch`: checked whole, then published together.
pub(super) async fn batch(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(several(&internal, body).await)
}

/// A publication's answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published { id: String },
    Failed { error: Failure },
}

#[derive(Serialize)]
struct Failure {
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

fn answer<T: Serialize>(outcome: Result<T, Refusal>) -> Response<Body> {
    match outcome {
        Ok(value) => response::json(StatusCode::OK, &value),
        Err(refusal) => response::refused(&refusal),
    }
}

async fn single(internal: &Internal, body: Body, channels: Channels) -> Result<Outcome, Refusal> {
    let draft = draft::one(&read(body).await?, channels).map_err(|error| bad_request(&error))?;
    let checked = check(internal, draft, clock::wall()).map_err(|error| bad_request(&error))?;
    let publisher = &internal.parts.publisher;
    let id = publisher.publish(Origin::Api, checked).await.map_err(|error| unavailable(&error))?;
    Ok(Outcome::Published { id: id.to_string() })
}

async fn several(internal: &Internal, body: Body) -> Result<Results, Refusal> {
    let drafts = draft::many(&read(body).await?, BATCH).map_err(|error| bad_request(&error))?;
    let now = clock::wall();
    let mut checked = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let inside =
            |error: BadBody| BadBody { path: format!("publications[{index}].{}", error.path), ..error };
        checked.push(check(internal, draft, now).map_err(|error| bad_request(&inside(error)))?);
    }
    let answers = internal.parts.publisher.publish_all(Origin::Api, checked).await;
    let outcome = |answer: Result<PublicationId, PublishError>| match answer {
        Ok(id) => Outcome::Published { id: id.to_string() },
        Err(error) => Outcome::Failed { error: failure(&error) },
    };
    Ok(Results { results: answers.into_iter().map(outcome).collect() })
}

fn check(internal: &Internal, draft: Draft, now: Timestamp) -> Result<Checked, BadBody> {
    let invalid = |Invalid { path, problem }| BadBody { path, problem: problem.to_string() };
    internal.parts.publisher.check(draft, now).map_err(invalid)
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_BYTES).collect()).await {
        Err(_) => Err(Refusal::new(408, "timeout", "the body did not come within 10 s")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(413, "too_large", "the body is larger than 1 MiB"))
        }
        Ok(Err(_)) => Err(Refusal::new(400, "bad_request", "the body could not be read")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn bad_request(error: &BadBody) -> Refusal {
    Refusal::new(400, "bad_request", error.to_string())
}

fn failure(error: &PublishError) -> Failure {
    Failure { code: "not_available", message: error.to_string() }
}

fn unavailable(error: &PublishError) -> Refusal {
    let Failure { code, message } = failure(error);
    Refusal { retry_after: Some(crate::limits::retry_after()), ..Refusal::new(503, code, message) }
}
