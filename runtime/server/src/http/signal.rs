//! What a step with `wait: {signal: ...}` waits for: a signal to one run, or an event for all runs that listen.

use super::Api;
use super::body::{Members, Query, small};
use super::caller::caller;
use super::codes::Code;
use super::control::answer;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::run_id;
use super::wire::catalog::Accepted;
use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use heddle_core::id::{Tenant, is_name};
use heddle_core::json::Json;
use heddle_executor::Delivery;
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(signal)).routes(routes!(event))
}

/// A signal.
#[derive(Debug, ToSchema)]
#[schema(as = SignalRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct SignalRequest {
    /// Its name, which a step waits for.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,63}$")]
    name: String,
    /// What it says; null where it is left out. The step's output.
    data: Option<serde_json::Value>,
}

/// Signal a run. What is answered is on disk: a step that waits for the signal gets it, now or when it begins to wait.
/// The same signal sent twice is two signals.
#[utoipa::path(
    post, path = "/v1/runs/{id}/signal", tag = "runs", operation_id = "signalRun",
    params(("id" = String, Path, description = "The run.")),
    request_body(content = SignalRequest, content_type = "application/json"),
    responses((status = 202, description = "The run has the signal.", body = Accepted), Problems),
)]
async fn signal(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let run = run_id(&id)?;
    let limits = &api.app.limits;
    let wish = small(&parts.headers, content, limits).await?;
    let (name, data) = said(Members::of(&wish), ("inline_bytes", limits.inline_bytes))?;
    let by = caller(&parts.headers)?;
    let delivery = api.app.executor.signal(&Tenant::default(), run, (&name, &data), by.name()).await?;
    match delivery {
        // Its steps go on waiting for nothing: a signal can only come too late.
        Delivery::Ending => answer(Delivery::Ended, run, "signalled"),
        other => answer(other, run, "signalled"),
    }
}

/// The name and the data of a signal or an event.
fn said(mut members: Members<'_>, (limit, most): (&'static str, u64)) -> Result<(String, Json), Problem> {
    let name = members.text("name").unwrap_or_default().to_owned();
    let data = Json::from_value(members.get("data").cloned().unwrap_or_default());
    if !is_name(&name) {
        members.fault("name", "is the name of a signal or an event: `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
    members.finish()?;
    if data.size() as u64 > most {
        let size = data.size();
        let message = format!("`data` has {size} bytes; the limit {limit} is {most}; send a reference");
        return Err(Problem::new(Code::InputTooLarge, message));
    }
    Ok((name, data))
}

/// An event.
#[derive(Debug, ToSchema)]
#[schema(as = EventRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct EventRequest {
    /// What makes it the only one: a trigger starts one run for all events with the same id, within a day. One is made
    /// where it is left out.
    #[schema(max_length = 256)]
    id: Option<String>,
    /// Its name, which steps wait for and triggers listen to.
    #[schema(pattern = "^[a-z][a-z0-9_-]{0,63}$")]
    name: String,
    /// What it says; null where it is left out.
    data: Option<serde_json::Value>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventReached)]
struct Reached {
    /// Its id.
    id: String,
    /// Runs that have a step which waits for it, now or later.
    reached: u64,
    /// The triggers that start a run for it.
    starts: Vec<String>,
}

/// Bytes of the id of an event.
const ID_BYTES: usize = 256;

/// Send an event to every run that listens, those with a step `wait: {signal: NAME}` that have not ended, and to every
/// workflow with a trigger for it. What is answered is on disk. The same event sent twice is two events, unless it has
/// an `id`.
#[utoipa::path(
    post, path = "/v1/events", tag = "runs", operation_id = "sendEvent",
    request_body(content = EventRequest, content_type = "application/json"),
    responses((status = 202, description = "Those runs have the event, and those triggers will start theirs.", body = Reached), Problems),
)]
async fn event(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let limits = &api.app.limits;
    let wish = small(&parts.headers, content, limits).await?;
    let mut members = Members::of(&wish);
    let id = members.text("id").map(str::to_owned);
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES || id.contains('\u{1}')) {
        members.fault("id", format!("wants 1 to {ID_BYTES} bytes"));
    }
    let (name, data) = said(members, ("event_bytes", limits.event_bytes))?;
    let by = caller(&parts.headers)?;
    let executor = &api.app.executor;
    let sent = executor.emit(&Tenant::default(), (&name, &data), by.name(), id.as_deref()).await?;
    let starts = sent.started.iter().map(ToString::to_string).collect();
    Ok((StatusCode::ACCEPTED, Answer(Reached { id: sent.id, reached: sent.reached, starts })).into_response())
}
