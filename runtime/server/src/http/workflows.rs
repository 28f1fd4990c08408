//! Checking, publishing and reading workflows. What becomes of a version is in [`life`], what is
//! made of templates in [`instance`].

mod instance;
mod life;

use super::Api;
use super::body::{Bound, Query, json, media_type, read, want_type};
use super::caller::caller;
use super::codes::Code;
use super::faults::unreadable_document;
use super::openapi::Problems;
use super::problem::Problem;
use super::submit::locate;
use super::wire::workflow::{WorkflowDoc, WorkflowPage, WorkflowSummaryDoc, checked, published};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use heddle_core::document::{Doc, Fault};
use heddle_core::id::Tenant;
use heddle_core::plan::{Plan, WorkflowRef};
use heddle_core::version::VersionStatus;
use heddle_executor::{Executor, Novelty, PublishWish, Published, WorkflowEntry, WorkflowFilter};
use hyper::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const YAML: &[&str] = &["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];
const TYPES: &[&str] =
    &["application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, publish))
        .routes(routes!(get))
        .routes(routes!(get_version))
        .merge(life::routes())
        .merge(instance::routes())
}

/// A workflow as its author wrote it; the type of the body says how.
pub(super) fn document(api: &Api, headers: &HeaderMap, bytes: &Bytes) -> Result<Doc, Problem> {
    want_type(headers, TYPES)?;
    match media_type(headers) {
        Some(said) if YAML.contains(&&*said) => {
            let unreadable = |message: String| unreadable_document(Fault { message, ..Fault::default() });
            let text = std::str::from_utf8(bytes).map_err(|_| unreadable("not UTF-8 text".to_owned()))?;
            Doc::parse(text, &api.app.limits).map_err(unreadable_document)
        }
        // JSON keeps its lines too, once it is known to be JSON.
        _ => {
            let value = json(bytes, api.app.limits.json_depth)?;
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            Ok(Doc::parse(text, &api.app.limits).unwrap_or_else(|_| Doc::of_value(value.value())))
        }
    }
}

/// Publish a version of a workflow, or only check it.
///
/// All faults are told at once. The same content again is not a new version and changes no status; other content under
/// a version that is taken is 409.
#[utoipa::path(
    post, path = "/v1/workflows", tag = "workflows", operation_id = "publishWorkflow",
    params(
        ("dryRun" = Option<bool>, Query, description = "Only check it."),
        ("status" = Option<String>, Query, description = "`draft`: no range means it until it is `active`, which is the default."),
        ("Heddle-User" = Option<String>, Header, description = "Who publishes it, as a proxy that knows its users says."),
    ),
    request_body(description = "The workflow, as JSON or YAML.", content(
        (serde_json::Value = "application/json"), (String = "application/yaml"),
    )),
    responses(
        (status = 200, description = "It has no fault, or was published before.", body = WorkflowDoc),
        (status = 201, description = "It was published.", body = WorkflowDoc, headers(("Location" = String, description = "Path of the version."))),
        Problems,
    ),
)]
async fn publish(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    let mut query = Query::of(parts.uri.query());
    let dry_run =
        query.read("dryRun", "`true` or `false`", |text| text.parse::<bool>().ok()).unwrap_or(false);
    let status = query.read("status", "`draft` or `active`", |text| {
        VersionStatus::from_word(text).filter(|s| matches!(s, VersionStatus::Draft | VersionStatus::Active))
    });
    query.finish()?;
    let by = Some(caller(&parts.headers)?.name().into());
    let wish = PublishWish { status: status.unwrap_or_default(), by, origin: None };
    let limits = &api.app.limits;
    let bytes = read(&parts.headers, content, Bound::small(limits)).await?;
    let doc = document(&api, &parts.headers, &bytes)?;
    let tenant = Tenant::default();
    if dry_run {
        let plan = api.app.executor.check_workflow(&tenant, &doc).await?;
        return Ok(Answer(checked(&plan, wish.status)).into_response());
    }
    answer(&api.app.executor.publish(&tenant, &doc, &wish).await?)
}

/// The answer with a version that is published.
fn answer(done: &Published) -> Result<Response, Problem> {
    let status = match done.novelty {
        Novelty::New => StatusCode::CREATED,
        Novelty::Known => StatusCode::OK,
    };
    let entry = &done.entry;
    let path = format!("/v1/workflows/{}/{}/versions/{}", entry.namespace, entry.name, entry.version);
    let mut response = (status, Answer(described(entry)?)).into_response();
    locate(&mut response, &path);
    Ok(response)
}

fn described(entry: &WorkflowEntry) -> Result<WorkflowDoc, Problem> {
    let plan = Plan::reread(&entry.source).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        Problem::new(
            Code::Internal,
            format!("`{}@{}` is damaged in the store: {first}", entry.full_name(), entry.version),
        )
    })?;
    Ok(published(&plan, entry))
}

/// List published versions, by name and version.
///
/// Archived ones are left out where no status is asked for. A page looks at `limits.list_scan` versions at most, so one
/// with filters may have few items, or none, and still say where the next page begins.
#[utoipa::path(
    get, path = "/v1/workflows", tag = "workflows", operation_id = "listWorkflows",
    params(
        ("workflow" = Option<String>, Query, description = "Only versions of this `namespace/name`."),
        ("status" = Option<String>, Query, description = "Only with one of these statuses, separated by commas."),
        ("createdBy" = Option<String>, Query, description = "Only those that this caller published."),
        ("label" = Option<String>, Query, description = "Only with this label: `key=value`."),
        ("text" = Option<String>, Query, description = "Only those with this text in their name, title or labels, in whatever case."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = WorkflowPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<WorkflowPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let place = |text: &str| Executor::is_workflow_key(text).then(|| text.to_owned());
    let after = query.read("cursor", "the `cursor` of a page", place).unwrap_or_default();
    let name = |text: &str| {
        let reference = WorkflowRef::parse(text).ok()?;
        (reference.name == text).then_some(reference.name)
    };
    let statuses = |text: &str| text.split(',').map(VersionStatus::from_word).collect::<Option<Vec<_>>>();
    let filter = WorkflowFilter {
        name: query.read("workflow", "`namespace/name`", name),
        status: query.read("status", "statuses such as `draft,active`", statuses).unwrap_or_default(),
        by: query.get("createdBy"),
        label: query.label(),
        text: query.get("text"),
    };
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let (found, cursor) = api.app.executor.workflows(&Tenant::default(), &filter, (&after, limit)).await?;
    Ok(Answer(WorkflowPage { items: found.into_iter().map(WorkflowSummaryDoc::from).collect(), cursor }))
}

fn none(name: &str) -> Problem {
    let name: String = name.chars().take(200).collect();
    Problem::new(
        Code::WorkflowNotFound,
        format!("no workflow `{name}` is published; `GET /v1/workflows` lists them"),
    )
}

/// Read the version of a workflow that its name means.
///
/// That is the highest active one that is no pre-release; where there is none, the highest of all.
#[utoipa::path(
    get, path = "/v1/workflows/{namespace}/{name}", tag = "workflows", operation_id = "getWorkflow",
    params(("namespace" = String, Path, description = "Its namespace."), ("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The workflow.", body = WorkflowDoc), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<WorkflowDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let shown = format!("{namespace}/{name}");
    let entry = api.app.executor.workflow(&Tenant::default(), &shown, None).await?;
    Ok(Answer(described(&entry.ok_or_else(|| none(&shown))?)?))
}

/// Read one version of a workflow.
#[utoipa::path(
    get, path = "/v1/workflows/{namespace}/{name}/versions/{version}", tag = "workflows", operation_id = "getWorkflowVersion",
    params(
        ("namespace" = String, Path, description = "Its namespace."), ("name" = String, Path, description = "Its name."),
        ("version" = String, Path, description = "Its version, such as `1.0.0`."),
    ),
    responses((status = 200, description = "The workflow.", body = WorkflowDoc), Problems),
)]
async fn get_version(
    State(api): State<Api>,
    Path((namespace, name, version)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<WorkflowDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    Ok(Answer(described(&one(&api, &namespace, &name, &version).await?)?))
}

/// A published version.
async fn one(api: &Api, namespace: &str, name: &str, version: &str) -> Result<WorkflowEntry, Problem> {
    let shown = format!("{namespace}/{name}@{version}");
    let version: semver::Version = version.parse().map_err(|_| none(&shown))?;
    let name = format!("{namespace}/{name}");
    let entry = api.app.executor.workflow(&Tenant::default(), &name, Some(&version)).await?;
    entry.ok_or_else(|| none(&shown))
}
