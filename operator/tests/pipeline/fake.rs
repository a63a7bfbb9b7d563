//! An API server as far as the pipeline speaks with one: it keeps objects, versions and who owns which field, and remembers every request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};
use tower_service::Service;

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<(String, String)>,
}

/// A request that changes something, as `PATCH configmaps/chat-gateway`.
pub(crate) fn short(method: &str, path: &str) -> String {
    let rest = path.split("/namespaces/").nth(1).unwrap_or(path);
    format!("{method} {}", rest.split_once('/').map_or(rest, |(_, rest)| rest))
}

impl Fake {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Every request since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.0.lock().unwrap().requests);
        requests.iter().map(|(method, path)| short(method, path)).collect()
    }

    /// Requests that change something, Events aside, since the last call.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut requests = self.requests();
        requests.retain(|request| !request.starts_with("GET ") && !request.contains(" events"));
        requests
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn objects(&self) -> Vec<Value> {
        self.0.lock().unwrap().objects.values().cloned().collect()
    }

    /// Puts an object there as somebody else would.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{version}").into();
        }
        state.objects.insert(path.to_owned(), object);
    }

    /// Changes an object as somebody else would.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.object(path).unwrap();
        edit(&mut object);
        self.put(path, object);
    }

    fn answer(&self, method: &Method, path: &str, kind: &str, body: &Value) -> (StatusCode, Value) {
        let mut state = self.0.lock().unwrap();
        state.requests.push((method.to_string(), path.to_owned()));
        match (method.as_str(), path.rsplit_once('/')) {
            ("GET", _) => state
                .objects
                .get(path)
                .map_or_else(|| missing(path), |object| (StatusCode::OK, object.clone())),
            ("PUT", Some((of, "scale"))) => state.scale(of, body),
            ("PATCH", Some((of, "status"))) => {
                let object = state.objects.entry(of.to_owned()).or_insert_with(|| json!({"metadata": {}}));
                object["status"] = body["status"].clone();
                (StatusCode::OK, object.clone())
            }
            ("PATCH", _) if kind.contains("apply") => (StatusCode::OK, state.apply(path, body)),
            ("PATCH", _) => match state.objects.get_mut(path) {
                None => missing(path),
                Some(object) => {
                    merge(object, body);
                    (StatusCode::OK, object.clone())
                }
            },
            ("POST", _) => {
                let place = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if state.objects.contains_key(&place) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                (StatusCode::CREATED, state.apply(&place, body))
            }
            ("DELETE", _) => match state.objects.remove(path) {
                None => missing(path),
                Some(object) => (StatusCode::OK, object),
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }
}

impl State {
    fn apply(&mut self, path: &str, body: &Value) -> Value {
        let before = self.objects.get(path).cloned();
        let mut object = before.clone().unwrap_or_else(|| {
            let uid = format!("uid-{}", self.version + 1);
            let mut object = json!({"metadata": {"uid": uid, "generation": 1}});
            if body["kind"] == "Deployment" {
                object["spec"] = json!({"replicas": 1});
            }
            object
        });
        merge(&mut object, body);
        let mut fields = fields(body);
        for name in ["f:apiVersion", "f:kind"] {
            fields.as_object_mut().unwrap().remove(name);
        }
        for name in ["f:name", "f:namespace"] {
            fields["f:metadata"].as_object_mut().unwrap().remove(name);
        }
        object["metadata"]["managedFields"] = json!([{"manager": "rtgw-operator", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
        if before.as_ref() != Some(&object) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.objects.insert(path.to_owned(), object.clone());
        }
        object
    }

    fn scale(&mut self, path: &str, body: &Value) -> (StatusCode, Value) {
        let Some(object) = self.objects.get_mut(path) else { return missing(path) };
        if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["spec"]["replicas"] = body["spec"]["replicas"].clone();
        (StatusCode::OK, body.clone())
    }
}

/// RFC 7396, which is what an apply of one manager does to lists that nobody else owns.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

/// `fieldsV1` of what was applied; lists are owned whole.
fn fields(applied: &Value) -> Value {
    match applied {
        Value::Object(members) if !members.is_empty() => members
            .iter()
            .map(|(name, value)| (format!("f:{name}"), fields(value)))
            .collect::<Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}

fn missing(path: &str) -> (StatusCode, Value) {
    let (code, mut status) = failure(StatusCode::NOT_FOUND, "NotFound");
    status["message"] = format!("{path} not found").into();
    (code, status)
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()});
    (code, status)
}

impl Service<Request<Body>> for Fake {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let kind =
                parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (code, answer) = fake.answer(&parts.method, parts.uri.path(), kind, &body);
            Ok(Response::builder().status(code).body(Full::from(answer.to_string())).unwrap())
        })
    }
}
