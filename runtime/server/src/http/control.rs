//! What a person may do with a run that is under way: cancel it, let it stand still, let it go on.

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
use heddle_core::id::{RunId, Tenant};
use heddle_executor::Delivery;
use hyper::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(cancel)).routes(routes!(pause)).routes(routes!(resume))
}

/// Why a run is cancelled, and how.
#[derive(Debug, ToSchema)]
#[schema(as = CancelRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct CancelRequest {
    /// In the caller's words, at most 1,024 bytes.
    reason: Option<String>,
    /// Whether nothing more is to run, not even compensation and `finally`.
    force: Option<bool>,
}

/// Why a run is paused or goes on.
#[derive(Debug, ToSchema)]
#[schema(as = PauseRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct PauseRequest {
    /// In the caller's words, at most 1,024 bytes.
    reason: Option<String>,
}

/// What such a request says.
struct Wish {
    run: RunId,
    by: String,
    reason: String,
    force: bool,
}

const REASON_BYTES: usize = 1_024;

async fn wish(api: &Api, id: &str, request: Request, may_force: bool) -> Result<Wish, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let (run, by) = (run_id(id)?, caller(&parts.headers)?.name().to_owned());
    let limits = &api.app.limits;
    let bound = Bound { bytes: limits.body_bytes, limit: "body_bytes", read_ms: limits.body_read_ms };
    let bytes = read(&parts.headers, content, bound).await?;
    if bytes.is_empty() {
        return Ok(Wish { run, by, reason: String::new(), force: false });
    }
    want_type(&parts.headers, &["application/json"])?;
    let body = json(&bytes, limits.json_depth)?;
    let mut members = Members::of(&body);
    let reason = members.text("reason").unwrap_or_default().to_owned();
    if reason.len() > REASON_BYTES {
        members.fault("reason", format!("has {} bytes; at most {REASON_BYTES} are kept", reason.len()));
    }
    let force = may_force && members.flag("force").unwrap_or(false);
    members.finish()?;
    Ok(Wish { run, by, reason, force })
}

pub(super) fn answer(delivery: Delivery, run: RunId, status: &str) -> Result<Response, Problem> {
    match delivery {
        Delivery::Accepted => {
            let body = Accepted { id: run.to_string(), status: status.to_owned() };
            Ok((StatusCode::ACCEPTED, Answer(body)).into_response())
        }
        Delivery::Unknown => Err(no_run(&run.to_string())),
        Delivery::Ending => Err(Problem::new(
            Code::RunEnded,
            format!(
                "the steps of run {run} are over, and what follows them is stopped by force only: `heddle runs cancel {run} --force`, or `{{\"force\": true}}`"
            ),
        )),
        // Only signals are counted.
        Delivery::Ended | Delivery::Full { .. } => Err(Problem::new(
            Code::RunEnded,
            format!("run {run} has ended already; `GET /v1/runs/{run}` tells how"),
        )),
    }
}

/// Ask for a run to be cancelled. What is answered is on disk.
///
/// What is under way ends; then what the run did is undone, and `finally` runs. By force, neither happens.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancelRun",
    params(("id" = String, Path, description = "The run.")),
    request_body(content = Option<CancelRequest>, content_type = "application/json"),
    responses((status = 202, description = "The run will end.", body = Accepted), Problems),
)]
async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let wish = wish(&api, &id, request, true).await?;
    let said = (wish.by.as_str(), wish.reason.as_str());
    let delivery = api.app.executor.cancel(&Tenant::default(), wish.run, said, wish.force).await?;
    answer(delivery, wish.run, "cancelling")
}

/// Let a run stand still. What is under way ends, what is due is noted, nothing new begins.
#[utoipa::path(
    post, path = "/v1/runs/{id}/pause", tag = "runs", operation_id = "pauseRun",
    params(("id" = String, Path, description = "The run.")),
    request_body(content = Option<PauseRequest>, content_type = "application/json"),
    responses((status = 202, description = "The run will stand still.", body = Accepted), Problems),
)]
async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let wish = wish(&api, &id, request, false).await?;
    let delivery = api.app.executor.pause(&Tenant::default(), wish.run, &wish.by, &wish.reason).await?;
    answer(delivery, wish.run, "paused")
}

/// Let a run go on that stands still, by itself or at a breakpoint.
#[utoipa::path(
    post, path = "/v1/runs/{id}/resume", tag = "runs", operation_id = "resumeRun",
    params(("id" = String, Path, description = "The run.")),
    request_body(content = Option<PauseRequest>, content_type = "application/json"),
    responses((status = 202, description = "The run will go on.", body = Accepted), Problems),
)]
async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let wish = wish(&api, &id, request, false).await?;
    let delivery = api.app.executor.resume(&Tenant::default(), wish.run, &wish.by).await?;
    answer(delivery, wish.run, "running")
}
