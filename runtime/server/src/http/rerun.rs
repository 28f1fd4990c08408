//! `POST /v1/runs/{id}/rerun`: a run once more.

use super::Api;
use super::body::{self, Bound, Members};
use super::caller::caller;
use super::codes::Code;
use super::guard::Trace;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::{no_run, run_id};
use super::submit::{accepted, idempotency_key, timing};
use super::wire::catalog::Accepted;
use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::plan::WorkflowRef;
use heddle_executor::{Rerun, RerunFault};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(rerun))
}

/// What is to be different this time.
#[derive(Debug, ToSchema)]
#[schema(as = RerunRequest, rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct RerunRequest {
    /// The id of a step: it and everything that waits for it is computed again, whatever it was computed from.
    from: Option<String>,
    /// Another input.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<serde_json::Value>,
    /// Another version: `namespace/name@range` of a published workflow. Without it, the run's own.
    workflow: Option<String>,
    /// Labels of the new run.
    labels: Option<BTreeMap<String, String>>,
    /// The run begins no earlier: a point in time.
    start_at: Option<String>,
    /// The same, as a duration from now such as `30s`.
    delay: Option<String>,
    /// The run fails where it has not ended by then: a point in time.
    deadline: Option<String>,
    /// 1 to 5 instead of what the workflow says; 1 goes first.
    #[schema(minimum = 1, maximum = 5)]
    priority: Option<u8>,
}

/// Accept a run that is another one once more.
///
/// It is a new run. What plugins gave the other one is taken over where the fingerprint is the same: component, grants
/// and input of a step. Tools and agents are taken over as well, so nothing that was done is done again; what the other
/// run has undone is. The other run may still be under way.
#[utoipa::path(
    post, path = "/v1/runs/{id}/rerun", tag = "runs", operation_id = "rerunRun",
    params(
        ("id" = String, Path, description = "The run."),
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 visible ASCII characters.", min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
        ("Heddle-User" = Option<String>, Header, description = "Who asks for the run, as a proxy that knows its users says."),
    ),
    request_body(content = Option<RerunRequest>, content_type = "application/json"),
    responses(
        (status = 202, description = "The run was accepted.", body = Accepted, headers(("Location" = String, description = "Path of the new run."))),
        Problems,
    ),
)]
async fn rerun(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(trace): Extension<Trace>,
    request: Request,
) -> Result<Response, Problem> {
    let run = run_id(&id)?;
    let (parts, content) = request.into_parts();
    let headers = parts.headers;
    body::Query::of(parts.uri.query()).finish()?;
    let limits = &api.app.limits;
    let bytes = body::read(&headers, content, Bound::small(limits)).await?;
    let said = match bytes.is_empty() {
        true => Json::trusted("{}"),
        false => {
            body::want_type(&headers, &["application/json"])?;
            body::json(&bytes, limits.json_depth)?
        }
    };
    let mut members = Members::of(&said);
    let from = members.text("from").map(str::to_owned);
    let input = members.get("input").cloned().map(Json::from_value);
    let workflow = members.text("workflow").map(WorkflowRef::parse).transpose().unwrap_or_else(|fault| {
        members.fault("workflow", fault.to_string());
        None
    });
    let labels = members.texts("labels");
    let timing = timing(&mut members);
    members.finish()?;
    let wish = Rerun {
        tenant: Tenant::default(),
        run,
        from,
        input,
        workflow,
        labels,
        by: Some(caller(&headers)?.name().into()),
        idempotency: idempotency_key(&headers)?,
        traceparent: trace.parent,
        timing,
    };
    let submitted = api.app.executor.rerun(wish).await?;
    Ok(accepted(submitted.run, "queued"))
}

impl From<RerunFault> for Problem {
    fn from(fault: RerunFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            RerunFault::NoSuchRun(run) => no_run(&run.to_string()),
            RerunFault::NoSuchStep { .. } => Problem::new(Code::StepNotFound, detail),
            RerunFault::OfAnother { .. } => Problem::new(Code::RerunInvalid, detail),
            RerunFault::Read(fault) => fault.into(),
            RerunFault::Submit(fault) => fault.into(),
        }
    }
}
