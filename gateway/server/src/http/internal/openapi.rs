//! The description of the API (OpenAPI 3.1), made from the routes and the types of their bodies.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Response, StatusCode};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use super::caller::Need;
use super::routes::{ROUTES, Route};
use crate::http::response::{self, ErrorBody};

/// `GET /v1/openapi.json`.
pub(super) async fn serve() -> Response<Body> {
    response::json(StatusCode::OK, &document())
}

/// What is described elsewhere.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object"})
}

/// Types that are read and types that are written differ in what they require.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = |settings: SchemaSettings| {
            let settings = settings.with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            });
            settings.into_generator()
        };
        let base = SchemaSettings::draft2020_12;
        Self { read: settings(base()), written: settings(base().for_serialize()) }
    }

    fn into_components(mut self) -> Map<String, Value> {
        let mut components = self.read.take_definitions(true);
        components.extend(self.written.take_definitions(true));
        components.sort_keys();
        components.values_mut().for_each(without_default);
        components
    }
}

/// What may be absent has no default: that it is absent is all there is to say.
fn without_default(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.shift_remove("default");
            }
            members.values_mut().for_each(without_default);
        }
        Value::Array(items) => items.iter_mut().for_each(without_default),
        _ => {}
    }
}

/// The whole description.
pub(crate) fn document() -> Value {
    let mut schemas = Schemas::new();
    let error = schemas.written.subschema_for::<ErrorBody<'static>>();
    let mut paths = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &error, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Realtime Gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The internal listener of a gateway: publish, order connections about, look at what a pod holds. Every refusal \
                has a JSON body with an error's code and message. A request whose head is malformed or larger than 16 KiB is answered \
                with 400 or 431 and no body. Where the manifest has no auth.apiKeys, the API is open to this machine's user alone: on a \
                loopback listener, for a loopback Host, without a foreign Origin.",
        },
        "servers": [{"url": "http://127.0.0.1:9090"}],
        "paths": paths,
        "components": {
            "schemas": schemas.into_components(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key of auth.apiKeys."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
            },
        },
    })
}

fn operation(route: &Route, error: &Schema, schemas: &mut Schemas) -> Value {
    let mut operation = json!({"operationId": operation_id(route), "summary": route.summary});
    let scope = match &route.need {
        None => String::new(),
        Some(Need::Key | Need::Page) => "Any API key will do.".into(),
        Some(need) => format!("Needs the scope `{}` or `admin`.", need.scope()),
    };
    let texts: Vec<&str> = [route.description, &scope].into_iter().filter(|text| !text.is_empty()).collect();
    if !texts.is_empty() {
        operation["description"] = texts.join(" ").into();
    }
    operation["security"] = match &route.need {
        None => json!([]),
        Some(need) => {
            operation["x-scope"] = need.scope().into();
            json!([{"bearer": []}, {"apiKey": []}])
        }
    };
    let parameters = parameters(route, schemas);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = route.body {
        let mut schema = Value::from(body(&mut schemas.read));
        without_default(&mut schema);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    operation["responses"] = responses(route, error, schemas);
    operation
}

fn operation_id(route: &Route) -> String {
    let name = route.path.trim_start_matches("/v1/").trim_start_matches('/');
    let name = name.split(['/', '.']).next().unwrap_or(name);
    format!("{}_{name}", route.method)
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.ends_with("{channel}") {
        parameters
            .push(json!({"name": "channel", "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    if matches!(route.need, Some(Need::Publish)) && !route.path.ends_with("batch") {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128},
            "description": "The same as the body's member idempotencyKey.",
        }));
    }
    let Some(query) = route.query else { return parameters };
    let members = query(&mut schemas.read);
    for (name, schema) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut schema = schema.clone();
        without_default(&mut schema);
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({"name": name, "in": "query", "schema": schema});
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameters.push(parameter);
    }
    parameters
}

fn responses(route: &Route, error: &Schema, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    let good = match route.answer {
        Some(answer) => json!({"application/json": {"schema": answer(&mut schemas.written)}}),
        None => json!({"application/openmetrics-text": {"schema": {"type": "string"}}}),
    };
    if !route.description.starts_with("Not in this version") {
        responses.insert("200".into(), json!({"description": "Done.", "content": good}));
    }
    if route.path == "/readyz" {
        responses.insert("503".into(), json!({"description": meaning(503), "content": good}));
    }
    let mut statuses: BTreeSet<u16> = route.refusals.iter().copied().collect();
    if route.need.is_some() {
        statuses.extend([400, 401, 403]);
    }
    if route.body.is_some() {
        statuses.extend([408, 413, 415]);
    }
    for status in statuses {
        let content = json!({"application/json": {"schema": error}});
        responses.insert(status.to_string(), json!({"description": meaning(status), "content": content}));
    }
    responses.into()
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request has to be changed; the message names the member.",
        401 => "No API key, or one that is unknown.",
        403 => "The key lacks the scope, or the Host or Origin may not ask.",
        404 => "There is no such thing.",
        408 => "The body did not come within 10 seconds.",
        413 => "The body is larger than 1 MiB.",
        415 => "The body does not say that it is JSON.",
        503 => "Not now; the same request may succeed later.",
        504 => "Not every part of the pod has answered; what was ordered may or may not have happened.",
        _ => "A fault of the server.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_names_of_their_own() {
        let names: BTreeSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(names.len(), ROUTES.len(), "{names:?}");
    }
}
