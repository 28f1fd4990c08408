//! Signalling a run: what a step with `wait: {signal: ...}` waits for.

use super::Api;
use super::body::{Bound, Members, Query, json, read, want_type};
use super::caller::caller;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::{no_run, run_id};
use super::wire::catalog::Accepted;
use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::{Tenant, is_name};
use heddle_core::json::Json;
use heddle_executor::Delivery;
use hyper::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(signal))
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
    want_type(&parts.headers, &["application/json"])?;
    let limits = &api.app.limits;
    let bound = Bound { bytes: limits.body_bytes, limit: "body_bytes", read_ms: limits.body_read_ms };
    let wish = json(&read(&parts.headers, content, bound).await?, limits.json_depth)?;
    let mut members = Members::of(&wish);
    let name = members.text("name").unwrap_or_default().to_owned();
    let data = Json::from_value(members.get("data").cloned().unwrap_or_default());
    if !is_name(&name) {
        members.fault("name", "is the name of a signal: `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
    members.finish()?;
    if data.size() as u64 > limits.inline_bytes {
        let (size, most) = (data.size(), limits.inline_bytes);
        let message = format!("`data` has {size} bytes; the limit inline_bytes is {most}; send a reference");
        return Err(Problem::new(Code::InputTooLarge, message));
    }
    match api
        .app
        .executor
        .signal(&Tenant::default(), run, (&name, &data), caller(&parts.headers)?.name())
        .await?
    {
        Delivery::Accepted => {
            let body = Accepted { id: run.to_string(), status: "signalled".to_owned() };
            Ok((StatusCode::ACCEPTED, Answer(body)).into_response())
        }
        Delivery::Unknown => Err(no_run(&id)),
        Delivery::Ended | Delivery::Ending => Err(Problem::new(
            Code::RunEnded,
            format!("run {run} has ended already; `GET /v1/runs/{run}` tells how"),
        )),
        Delivery::Full { most } => Err(Problem::new(
            Code::QuotaExceeded,
            format!("run {run} has {most} signals already (limit signals); start another run"),
        )),
    }
}
