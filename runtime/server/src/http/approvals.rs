//! What runs ask people, and what people answer. An approval's id is its run's, a dot, and its step's.

use super::Api;
use super::body::{Members, Query, small};
use super::caller::caller;
use super::codes::Code;
use super::control::answer;
use super::openapi::Problems;
use super::problem::{Place, Problem};
use super::runs::run_id;
use super::wire::FailureDoc;
use super::wire::catalog::Accepted;
use super::wire::run::DecisionDoc;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::approval::{Decision, Undecidable};
use heddle_core::run::view::{RunView, StepView};
use heddle_core::time::Timestamp;
use heddle_executor::DecideFault;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(decide))
}

/// Something that a run asks people.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Approval)]
struct ApprovalDoc {
    /// Its id: `run.step`.
    id: String,
    /// The run.
    run: String,
    /// The step.
    step: String,
    /// The run's workflow.
    workflow: String,
    /// Who may decide: names, and groups as `group:name`. Empty: anybody.
    assignees: Vec<String>,
    /// How many must approve.
    quorum: u32,
    /// JSON Schema of what an approval must say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    form: Option<Json>,
    /// What has been decided so far.
    decisions: Vec<DecisionDoc>,
    /// Since when it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    asked_at: Option<String>,
    /// What the step has failed with, where it asks what becomes of that: `POST /v1/runs/{run}/steps/{step}/retry`, `skip` or `fail` answers, and not `/v1/approvals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureDoc>,
    /// Whether such a step may be skipped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skippable: bool,
    /// Until when an answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    until: Option<String>,
}

/// A page of approvals.
#[derive(Debug, Serialize, ToSchema)]
struct ApprovalPage {
    /// What is asked, the newest runs first.
    items: Vec<ApprovalDoc>,
    /// Where the next page begins. A page can be empty and have a next one: so many runs were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A decision.
#[derive(Debug, ToSchema)]
#[schema(as = DecisionRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct DecisionRequest {
    /// `approve` or `reject`.
    decision: String,
    /// Why, at most 4,096 bytes.
    comment: Option<String>,
    /// What is filled in, as the approval's form wants it.
    form: Option<serde_json::Value>,
}

const COMMENT_BYTES: usize = 4_096;

/// List what runs ask people, the newest runs first.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "approvals", operation_id = "listApprovals",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Open runs that are looked at, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = ApprovalPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<ApprovalPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let before = query.cursor::<RunId>();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let (runs, next) = api.app.executor.asking(&Tenant::default(), before, limit).await?;
    let asked = |run: &RunView| {
        let steps = run.steps.iter().filter_map(|step| approval(run, step));
        steps.collect::<Vec<_>>()
    };
    let items = runs.iter().flat_map(|detail| asked(&detail.view)).collect();
    Ok(Answer(ApprovalPage { items, cursor: next.map(|run| run.to_string()) }))
}

fn approval(run: &RunView, step: &StepView) -> Option<ApprovalDoc> {
    let asks = step.asks.as_ref()?;
    Some(ApprovalDoc {
        id: format!("{}.{}", run.id, step.id),
        run: run.id.to_string(),
        step: step.id.to_string(),
        workflow: format!("{}@{}", run.workflow, run.workflow_version),
        assignees: asks.assignees.iter().map(ToString::to_string).collect(),
        quorum: asks.quorum,
        form: asks.form.clone(),
        failure: asks.failure.clone().map(FailureDoc::from),
        skippable: asks.skippable,
        decisions: step.decisions.iter().map(DecisionDoc::from).collect(),
        asked_at: asks.since.map(Timestamp::rfc3339),
        until: step.waits.as_ref().and_then(|waits| waits.until).map(Timestamp::rfc3339),
    })
}

/// Decide. What is answered is on disk; of decisions that come at the same time, the first one counts.
///
/// Who decides is told by the header `Heddle-User`, their groups by `Heddle-Groups`. Whoever asked for the run may not
/// approve alone.
#[utoipa::path(
    post, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "decideApproval",
    params(
        ("id" = String, Path, description = "The approval: `run.step`."),
        ("Heddle-User" = Option<String>, Header, description = "Who decides."),
        ("Heddle-Groups" = Option<String>, Header, description = "Their groups, separated by commas."),
    ),
    request_body(content = DecisionRequest, content_type = "application/json"),
    responses((status = 202, description = "The decision is on disk.", body = Accepted), Problems),
)]
async fn decide(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let (run, step) = id.split_once('.').ok_or_else(|| {
        let id: String = id.chars().take(64).collect();
        Problem::new(
            Code::StepNotFound,
            format!("`{id}` names no approval; its id is `run.step`, as `GET /v1/approvals` shows"),
        )
    })?;
    let run = run_id(run)?;
    let caller = caller(&parts.headers)?;
    let limits = &api.app.limits;
    let body = small(&parts.headers, content, limits).await?;
    let mut members = Members::of(&body);
    let approved = match members.text("decision") {
        Some("approve") => true,
        Some("reject") => false,
        other => {
            let said =
                other.map(|other| format!("; this is `{}`", other.chars().take(40).collect::<String>()));
            members.fault("decision", format!("wants `approve` or `reject`{}", said.unwrap_or_default()));
            false
        }
    };
    let comment = members.text("comment").unwrap_or_default().to_owned();
    if comment.len() > COMMENT_BYTES {
        members.fault("comment", format!("has {} bytes; at most {COMMENT_BYTES} are kept", comment.len()));
    }
    let form = members.get("form").cloned().map(Json::from_value);
    members.finish()?;
    if let Some(size) = form.as_ref().map(Json::size).filter(|size| *size as u64 > limits.inline_bytes) {
        let detail = format!("`form` has {size} bytes; the limit inline_bytes is {}", limits.inline_bytes);
        return Err(Problem::new(Code::InputTooLarge, detail));
    }
    let decision = Decision { by: caller.name().into(), approved, comment: comment.into(), form };
    let who = (step, caller.groups.as_slice());
    let delivery = api.app.executor.decide(&Tenant::default(), run, who, decision).await?;
    answer(delivery, run, if approved { "approved" } else { "rejected" })
}

impl From<DecideFault> for Problem {
    fn from(fault: DecideFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            DecideFault::Read(fault) => fault.into(),
            DecideFault::Undecidable(fault) => match fault {
                Undecidable::NoSuchStep(_) | Undecidable::NoStep(_) => {
                    Problem::new(Code::StepNotFound, detail)
                }
                Undecidable::Impossible { .. } | Undecidable::AsksHelp(_) => {
                    Problem::new(Code::StepConflict, detail)
                }
                Undecidable::NotAsked { .. } | Undecidable::Twice(_) | Undecidable::TooLate(_) => {
                    Problem::new(Code::NotAsked, detail)
                }
                Undecidable::TooMany { .. } => Problem::new(Code::QuotaExceeded, detail),
                Undecidable::NotAssigned { .. } => Problem::new(Code::NotAssigned, detail),
                Undecidable::Form(message) => {
                    let place = Place { pointer: "/form".into(), message, ..Place::default() };
                    Problem::new(Code::InputInvalid, detail).at([place])
                }
            },
        }
    }
}
