//! Looking at runs.

use super::Api;
use super::body::Query;
use super::codes::Code;
use super::graph;
use super::openapi::Problems;
use super::prefer::Preferences;
use super::problem::Problem;
use super::why;
use super::wire::catalog::{ItemPage, JournalEntry, JournalPage, RunPage, RunSummary, Why};
use super::wire::run::{Around, ItemDoc, RunDoc, StepDoc, limits_of, run, run_alone, step, work};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::AttemptLimits;
use heddle_core::run::view::StepView;
use heddle_core::time::Timestamp;
use heddle_executor::{Clock as _, RunDetail, RunFilter, SystemClock};
use heddle_store::{Listed, RunQuery, RunStatus};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use std::collections::BTreeMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(get_step))
        .routes(routes!(get_items))
        .routes(routes!(get_item))
        .routes(routes!(journal))
        .routes(routes!(get_graph))
        .routes(routes!(get_why))
        .routes(routes!(get_value))
}

/// The answer with the document of a run, as of now and as the client prefers it.
pub(super) fn preferred(api: &Api, detail: &RunDetail, prefer: Preferences) -> Response {
    let around = Around { detail, limits: &api.app.limits, now: SystemClock.now() };
    let document = if prefer.minimal { run_alone(around) } else { run(around) };
    let mut response = Answer(document).into_response();
    if let Some(applied) = prefer.applied() {
        response.headers_mut().insert("preference-applied", applied);
    }
    response
}

pub(super) fn no_run(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    Problem::new(Code::RunNotFound, format!("there is no run `{id}`; `GET /v1/runs` lists them"))
}

/// A digest of a path, with what is said where there is nothing under it.
pub(super) fn sought(text: &str, code: Code, nothing: &str) -> Result<(Digest, Problem), Problem> {
    let shown: String = text.chars().take(80).collect();
    let none = Problem::new(code, format!("{nothing} `{shown}`"));
    match text.parse() {
        Ok(digest) => Ok((digest, none)),
        Err(_) => Err(none),
    }
}

/// A run's id; what is none names no run.
pub(super) fn run_id(id: &str) -> Result<RunId, Problem> {
    id.parse().map_err(|_| no_run(id))
}

/// A run by its id.
pub(crate) async fn detail(api: &Api, id: &str) -> Result<RunDetail, Problem> {
    api.app.executor.run(&Tenant::default(), run_id(id)?).await?.ok_or_else(|| no_run(id))
}

fn status(text: &str) -> Option<RunStatus> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// The word of a run whose index row cannot be read. No run has it in its own document.
pub(super) const UNREADABLE: &str = "unreadable";

fn summary(listed: Listed) -> RunSummary {
    let row = match listed {
        Listed::Run(row) => *row,
        Listed::Unreadable { run, why } => {
            let hint = format!(
                "what the index says of this run cannot be read ({why}); stop the node, and `heddle doctor` tells what is damaged and what to do"
            );
            return RunSummary {
                id: run.to_string(),
                workflow: String::new(),
                version: String::new(),
                status: UNREADABLE.to_owned(),
                labels: BTreeMap::new(),
                created_by: None,
                created_at: run.created().rfc3339(),
                finished_at: None,
                hint: Some(hint),
            };
        }
    };
    RunSummary {
        id: row.run.to_string(),
        workflow: row.workflow.to_string(),
        version: row.workflow_version.to_string(),
        status: row.status.word().to_owned(),
        labels: row.labels.into_iter().collect(),
        created_by: row.by.as_ref().map(ToString::to_string),
        created_at: row.created.rfc3339(),
        finished_at: row.finished.map(Timestamp::rfc3339),
        hint: None,
    }
}

/// List runs, newest first.
///
/// A page looks at `limits.list_scan` runs at most, so one with `createdBy` or `text` may have few items, or none, and
/// still say where the next page begins.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "listRuns",
    params(
        ("status" = Option<String>, Query, description = "Only with one of these statuses, separated by commas."),
        ("workflow" = Option<String>, Query, description = "Only of this `namespace/name`."),
        ("version" = Option<String>, Query, description = "Only of this version of the workflow; wants `workflow`."),
        ("createdBy" = Option<String>, Query, description = "Only those that this caller asked for."),
        ("text" = Option<String>, Query, description = "Only those with this text in their id, workflow or labels, in whatever case."),
        ("label" = Option<String>, Query, description = "Only with this label: `key=value`."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = RunPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<RunPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let words = "statuses such as `queued,running`";
    let statuses =
        query.read("status", words, |text| text.split(',').map(status).collect::<Option<Vec<_>>>());
    let workflow = query.get("workflow");
    let of_workflow = |text: &str| workflow.is_some().then(|| text.to_owned());
    let version = query.read("version", "asked for together with `workflow`", of_workflow);
    let filter = RunFilter { by: query.get("createdBy"), text: query.get("text") };
    let label = query.label();
    let before = query.cursor::<RunId>();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let wanted = RunQuery {
        tenant: Tenant::default(),
        status: statuses.unwrap_or_default(),
        workflow,
        version,
        slot: None,
        holding: None,
        label,
        before,
        limit,
    };
    let (rows, cursor) = api.app.executor.runs(wanted, &filter).await?;
    let cursor = cursor.map(|run| run.to_string());
    Ok(Answer(RunPage { items: rows.into_iter().map(summary).collect(), cursor }))
}

/// Read a run.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "getRun",
    params(
        ("id" = String, Path, description = "The run."),
        ("Prefer" = Option<String>, Header, description = "`return=minimal`: the run without its steps."),
    ),
    responses((status = 200, description = "The run.", body = RunDoc), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    let prefer = Preferences { wait: None, ..Preferences::of(&headers) };
    Ok(preferred(&api, &detail(&api, &id).await?, prefer))
}

fn no_step(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    Problem::new(Code::StepNotFound, format!("the run has no step `{id}`"))
}

/// Read one step of a run.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps/{step}", tag = "runs", operation_id = "getStep",
    params(("id" = String, Path, description = "The run."), ("step" = String, Path, description = "The step.")),
    responses((status = 200, description = "The step.", body = StepDoc), Problems),
)]
async fn get_step(
    State(api): State<Api>,
    Path((id, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<StepDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let detail = detail(&api, &id).await?;
    let view = detail.view.steps.iter().find(|s| *s.id == *name).ok_or_else(|| no_step(&name))?;
    Ok(Answer(step(view, Around { detail: &detail, limits: &api.app.limits, now: SystemClock.now() })))
}

/// List the items of a `forEach` step.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps/{step}/items", tag = "runs", operation_id = "listItems",
    params(
        ("id" = String, Path, description = "The run."), ("step" = String, Path, description = "The step."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = ItemPage), Problems),
)]
async fn get_items(
    State(api): State<Api>,
    Path((id, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ItemPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let from = query.cursor::<u32>().unwrap_or(0);
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let detail = detail(&api, &id).await?;
    let (_, limits) = step_of(&api, &detail, &name)?;
    let found = api.app.executor.items(&Tenant::default(), detail.view.id, &name, from, limit + 1).await?;
    let mut items: Vec<ItemDoc> = found
        .unwrap_or_default()
        .iter()
        .map(|(item, view)| ItemDoc { item: *item, work: work(view, limits) })
        .collect();
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let cursor = items.last().filter(|_| more).map(|last| (last.item + 1).to_string());
    Ok(Answer(ItemPage { items, cursor }))
}

/// Read one item of a `forEach` step.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps/{step}/{item}", tag = "runs", operation_id = "getItem",
    params(
        ("id" = String, Path, description = "The run."), ("step" = String, Path, description = "The step."),
        ("item" = u32, Path, description = "Which item of the list, from 0."),
    ),
    responses((status = 200, description = "The item.", body = ItemDoc), Problems),
)]
async fn get_item(
    State(api): State<Api>,
    Path((id, name, item)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ItemDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let none = || {
        let item: String = item.chars().take(16).collect();
        Problem::new(Code::StepNotFound, format!("the step has no item `{item}`"))
    };
    let index: u32 = item.parse().map_err(|_| none())?;
    let detail = detail(&api, &id).await?;
    let (step, limits) = step_of(&api, &detail, &name)?;
    let found = api.app.executor.items(&Tenant::default(), detail.view.id, &step.id, index, 1).await?;
    let found = found.unwrap_or_default();
    let (item, view) = found.first().ok_or_else(none)?;
    Ok(Answer(ItemDoc { item: *item, work: work(view, limits) }))
}

/// A step of a run, with the limits of its attempts.
fn step_of<'a>(
    api: &Api,
    detail: &'a RunDetail,
    name: &str,
) -> Result<(&'a StepView, Option<AttemptLimits>), Problem> {
    let step = detail.view.steps.iter().find(|s| *s.id == *name).ok_or_else(|| no_step(name))?;
    let around = Around { detail, limits: &api.app.limits, now: SystemClock.now() };
    let plugin = step.call.and_then(|call| detail.plugin(call, step.turn));
    Ok((step, limits_of(step.index, plugin.map(|p| &**p), around)))
}

/// Read a run's journal: what was decided, row by row.
#[utoipa::path(
    get, path = "/v1/runs/{id}/journal", tag = "runs", operation_id = "getJournal",
    params(
        ("id" = String, Path, description = "The run."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Rows of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = JournalPage), Problems),
)]
async fn journal(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<JournalPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<u32>().unwrap_or(0);
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    Ok(Answer(entries(&api, run_id(&id)?, u64::from(after), limit).await?))
}

/// A page of the journal of a run, after this row.
pub(crate) async fn entries(api: &Api, run: RunId, after: u64, limit: u32) -> Result<JournalPage, Problem> {
    let rows = api.app.executor.journal(&Tenant::default(), run, after, limit + 1).await?;
    let mut rows = rows.ok_or_else(|| no_run(&run.to_string()))?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let cursor = rows.last().filter(|_| more).map(|row| row.seq.to_string());
    let items = rows.iter().map(|row| JournalEntry {
        seq: row.seq,
        at: row.batch.at.rfc3339(),
        events: row
            .batch
            .events
            .iter()
            .filter_map(|e| serde_json::to_string(e).ok())
            .map(Json::trusted)
            .collect(),
    });
    Ok(JournalPage { items: items.collect(), cursor })
}

/// Read the graph of a run: what was planned, and where each step stands.
#[utoipa::path(
    get, path = "/v1/runs/{id}/graph", tag = "runs", operation_id = "getGraph",
    params(
        ("id" = String, Path, description = "The run."),
        ("format" = Option<graph::Format>, Query, description = "`json` where nothing is said."),
    ),
    responses(
        (status = 200, description = "The graph.", content(
            (graph::Graph = "application/json"), (String = "text/vnd.mermaid"), (String = "text/vnd.graphviz"),
        )),
        Problems,
    ),
)]
async fn get_graph(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::of(query.as_deref());
    let format = query
        .read("format", "`json`, `mermaid` or `dot`", graph::Format::from_word)
        .unwrap_or(graph::Format::Json);
    query.finish()?;
    let detail = detail(&api, &id).await?;
    let drawn = graph::Graph::of(detail.plan(), Some(&detail.view));
    Ok(([(CONTENT_TYPE, format.media_type())], drawn.print(format)).into_response())
}

/// Tell why a run stands where it stands.
#[utoipa::path(
    get, path = "/v1/runs/{id}/why", tag = "runs", operation_id = "whyRun",
    params(("id" = String, Path, description = "The run.")),
    responses((status = 200, description = "The reasons.", body = Why), Problems),
)]
async fn get_why(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<Why>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let detail = detail(&api, &id).await?;
    // It is looked for after the run was read: what the run took from its inbox in between is not told as waiting.
    let moving = api.app.executor.waiting_move(&detail).await?;
    Ok(Answer(why::why(&detail, moving.as_ref(), SystemClock.now())))
}

/// Read a value that a run's document names by its digest.
#[utoipa::path(
    get, path = "/v1/runs/{id}/values/{digest}", tag = "runs", operation_id = "getValue",
    params(
        ("id" = String, Path, description = "The run."),
        ("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits."),
    ),
    responses((status = 200, description = "The value.", body = serde_json::Value), Problems),
)]
async fn get_value(
    State(api): State<Api>,
    Path((id, digest)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    let run = run_id(&id)?;
    let (digest, none) = sought(&digest, Code::ValueNotFound, "the run has no value")?;
    let value = api.app.executor.value(&Tenant::default(), run, digest).await?.ok_or(none)?;
    Ok(([(CONTENT_TYPE, "application/json")], value.text().to_owned()).into_response())
}
