//! What becomes of a published version: its status, its end, and what is different between two.

use super::super::Api;
use super::super::body::{Members, Query, small};
use super::super::caller::caller;
use super::super::codes::Code;
use super::super::openapi::Problems;
use super::super::problem::Problem;
use super::super::wire::workflow::{WorkflowDiff, WorkflowDoc, diff};
use super::{described, none, one};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use heddle_core::diff::difference;
use heddle_core::id::Tenant;
use heddle_core::version::VersionStatus;
use heddle_executor::LifeFault;
use hyper::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(set_status, remove)).routes(routes!(compare))
}

/// What is to become of a version.
#[derive(Debug, ToSchema)]
#[schema(as = WorkflowVersionRequest)]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct StatusRequest {
    /// `active`, `inactive` or `archived`.
    status: String,
}

impl From<LifeFault> for Problem {
    fn from(fault: LifeFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            LifeFault::Transition { .. } => Problem::new(Code::WorkflowState, detail),
            LifeFault::InUse { .. } => Problem::new(Code::WorkflowInUse, detail),
            LifeFault::Store(fault) => fault.into(),
        }
    }
}

/// Change the status of a version.
///
/// A draft becomes active; an active version inactive, and back; each of them archived; what is archived becomes
/// inactive. The status that it has already will do. Runs that are under way go on; schedules follow at once.
#[utoipa::path(
    patch, path = "/v1/workflows/{namespace}/{name}/versions/{version}", tag = "workflows", operation_id = "setWorkflowStatus",
    params(
        ("namespace" = String, Path, description = "Its namespace."), ("name" = String, Path, description = "Its name."),
        ("version" = String, Path, description = "Its version, such as `1.0.0`."),
        ("Heddle-User" = Option<String>, Header, description = "Who changes it, as a proxy that knows its users says."),
    ),
    request_body(content = StatusRequest, content_type = "application/json"),
    responses((status = 200, description = "The workflow.", body = WorkflowDoc), Problems),
)]
async fn set_status(
    State(api): State<Api>,
    Path((namespace, name, version)): Path<(String, String, String)>,
    request: Request,
) -> Result<Answer<WorkflowDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = caller(&parts.headers)?;
    let said = small(&parts.headers, content, &api.app.limits).await?;
    let mut members = Members::of(&said);
    let status = members.text("status").and_then(|word| {
        let status = VersionStatus::from_word(word);
        if status.is_none() {
            members.fault("status", "wants `draft`, `active`, `inactive` or `archived`");
        }
        status
    });
    if said.value().get("status").is_none() {
        members.fault("status", "`status` is missing");
    }
    members.finish()?;
    let (shown, version) = named(&namespace, &name, &version)?;
    let full_name = format!("{namespace}/{name}");
    let tenant = Tenant::default();
    let Some(status) = status else { return Err(none(&shown)) };
    let changed =
        api.app.executor.set_workflow_status(&tenant, (&full_name, &version), status, by.name()).await?;
    let (entry, _) = changed.ok_or_else(|| none(&shown))?;
    Ok(Answer(described(&entry)?))
}

/// `namespace/name@version` for people, and the version.
fn named(namespace: &str, name: &str, version: &str) -> Result<(String, semver::Version), Problem> {
    let shown = format!("{namespace}/{name}@{version}");
    let version = version.parse().map_err(|_| none(&shown))?;
    Ok((shown, version))
}

/// Delete a version that nothing uses.
///
/// Runs that have not ended use it, its schedules, and workflows that run it and would find no other version. The
/// version stays taken: the same content may be published again under it, other content not.
#[utoipa::path(
    delete, path = "/v1/workflows/{namespace}/{name}/versions/{version}", tag = "workflows", operation_id = "deleteWorkflowVersion",
    params(
        ("namespace" = String, Path, description = "Its namespace."), ("name" = String, Path, description = "Its name."),
        ("version" = String, Path, description = "Its version, such as `1.0.0`."),
        ("Heddle-User" = Option<String>, Header, description = "Who deletes it, as a proxy that knows its users says."),
    ),
    responses((status = 204, description = "It is deleted."), Problems),
)]
async fn remove(
    State(api): State<Api>,
    Path((namespace, name, version)): Path<(String, String, String)>,
    request: Request,
) -> Result<StatusCode, Problem> {
    Query::of(request.uri().query()).finish()?;
    let by = caller(request.headers())?;
    let (shown, version) = named(&namespace, &name, &version)?;
    let full_name = format!("{namespace}/{name}");
    let tenant = Tenant::default();
    let removed = api.app.executor.remove_workflow(&tenant, (&full_name, &version), by.name()).await?;
    removed.ok_or_else(|| none(&shown))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Compare two versions of a workflow.
///
/// Steps that came, went and changed, and what changed around them; each change with its path and both values.
#[utoipa::path(
    get, path = "/v1/workflows/{namespace}/{name}/diff/{a}/{b}", tag = "workflows", operation_id = "diffWorkflows",
    params(
        ("namespace" = String, Path, description = "Its namespace."), ("name" = String, Path, description = "Its name."),
        ("a" = String, Path, description = "The first version."), ("b" = String, Path, description = "The second version."),
    ),
    responses((status = 200, description = "What is different.", body = WorkflowDiff), Problems),
)]
async fn compare(
    State(api): State<Api>,
    Path((namespace, name, a, b)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<WorkflowDiff>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let (a, b) = (one(&api, &namespace, &name, &a).await?, one(&api, &namespace, &name, &b).await?);
    let found = difference(a.source.value(), b.source.value());
    Ok(Answer(diff(&a, &b, found)))
}
