//! The description of the API: derived from the routes and their types, completed with what is no type of a route: the
//! one shape of every refusal, and the events of a stream.

use super::Api;
use super::problem::{MEDIA_TYPE, ProblemBody};
use axum::Router;
use axum::routing::get;
use heddle_core::run::public::CATALOGUE;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::openapi::{Ref, RefOr, Response};
use utoipa::{IntoResponses, OpenApi};

/// Every status that a refusal can have, whatever the route.
const REFUSALS: &[u16] = &[400, 403, 404, 405, 408, 409, 413, 414, 415, 422, 429, 431, 500, 503];

/// The refusals of every route.
#[derive(Debug)]
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        REFUSALS
            .iter()
            .map(|status| (status.to_string(), RefOr::Ref(Ref::from_response_name("Problem"))))
            .collect()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Heddle",
        description = "Runs agents, tools and transforms as sandboxed WebAssembly components, woven into durable workflows.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    components(schemas(ProblemBody, super::graph::Format)),
    tags(
        (name = "runs", description = "Submit, follow, read and cancel runs."),
        (name = "approvals", description = "What runs ask people."),
        (name = "workflows", description = "Check, publish and read workflows."),
        (name = "schedules", description = "When workflows run by themselves."),
        (name = "triggers", description = "What workflows start on by themselves, and where others send it."),
        (name = "circuits", description = "What is not called too often, and not while it does not answer."),
        (name = "webhooks", description = "Who is told of what happens to runs, and what was sent."),
        (name = "plugins", description = "Load and read plugins."),
        (name = "node", description = "How the node is."),
    ),
)]
struct Head;

/// What the description begins with.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// The description with what no route has.
pub(super) fn complete(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let components = &mut document["components"];
    components["responses"]["Problem"] = json!({
        "description": "What was asked could not be done (RFC 9457). `code` says why; `type` is the page that explains it.",
        "content": { MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    if let (Some(schemas), Value::Object(said)) =
        (components["schemas"].as_object_mut(), super::ws::protocol::schemas())
    {
        schemas.extend(said);
    }
    for event in CATALOGUE {
        let data: Value = serde_json::from_str(event.schema).unwrap_or_default();
        components["schemas"][format!("Event.{}", event.name)] = json!({
            "description": event.title,
            "type": "object",
            "required": ["run", "time", "data"],
            "properties": {
                "run": { "type": "string", "format": "uuid" },
                "time": { "type": "string", "format": "date-time" },
                "data": data,
            },
        });
    }
    document["paths"]["/v1/runs/{id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"] =
        stream_item();
    link_runs(&mut document);
    document
}

/// One message of an event stream, as clients that read such streams see it.
fn stream_item() -> Value {
    let names: Vec<&str> = CATALOGUE.iter().map(|event| event.name).collect();
    let bodies: Vec<Value> =
        names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/Event.{name}") })).collect();
    json!({
        "description": "One message of the stream.",
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "enum": names },
            "id": {
                "description": "Give the last one as `Last-Event-ID` to go on after it. Passing events have none.",
                "type": "string",
                "pattern": "^[0-9]+\\.[0-9]+$",
            },
            "data": {
                "description": "The event, as JSON.",
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": bodies },
            },
        },
    })
}

/// Says that whoever has submitted a run can go on with its id, for programs that follow links.
fn link_runs(document: &mut Value) {
    let mut links = serde_json::Map::new();
    let Some(paths) = document["paths"].as_object() else { return };
    for (_, methods) in paths.iter().filter(|(path, _)| path.starts_with("/v1/runs/{id}")) {
        for id in methods.as_object().into_iter().flatten().filter_map(|(_, it)| it["operationId"].as_str()) {
            let link = json!({ "operationId": id, "parameters": { "id": "$response.body#/id" } });
            links.insert(id.to_owned(), link);
        }
    }
    let answers = &mut document["paths"]["/v1/runs"]["post"]["responses"];
    for status in ["200", "202"] {
        answers[status]["links"] = Value::Object(links.clone());
    }
}

/// The description as text, the same bytes for the same program.
pub(super) fn text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    text.push('\n');
    text
}

/// Keys in order, whatever the map of `serde_json` is in this build.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// `/openapi.json`.
pub(super) fn route(document: Arc<Value>) -> Router<Api> {
    let text: Arc<str> = text(&document).into();
    let answer = move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, "application/json")], text.to_string()) }
    };
    Router::new().route("/openapi.json", get(answer))
}
