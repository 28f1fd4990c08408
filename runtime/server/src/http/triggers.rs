//! Triggers: which workflows start on what happens, and the address to which others send for one.

use super::Api;
use super::body::{Bound, Members, Query, json, read, small_or_none, want_type};
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::wire::trigger::{ReceivedDoc, TriggerDoc, TriggerPage};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use heddle_core::id::Tenant;
use heddle_executor::{TriggerChange, TriggerFault};
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Deliveries that are shown with a trigger.
const SHOWN: u32 = 20;
/// What is said of a body that is no JSON.
const JSON_ONLY: &[&str] = &["application/json", "application/cloudevents+json"];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(receive))
}

fn none(id: &str) -> Problem {
    let id: String = id.chars().take(200).collect();
    Problem::new(Code::TriggerNotFound, format!("there is no trigger `{id}`; `GET /v1/triggers` lists them"))
}

/// List the triggers of all workflows, by id: those of each workflow's highest active version.
#[utoipa::path(
    get, path = "/v1/triggers", tag = "triggers", operation_id = "listTriggers",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = TriggerPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<TriggerPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<String>().unwrap_or_default();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let mut found = api.app.executor.triggers(&Tenant::default(), &after, limit + 1);
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let cursor = found.last().filter(|_| more).map(|view| view.trigger.id.to_string());
    Ok(Answer(TriggerPage { items: found.into_iter().map(TriggerDoc::from).collect(), cursor }))
}

/// Read a trigger, and what became of the last events for it.
#[utoipa::path(
    get, path = "/v1/triggers/{id}", tag = "triggers", operation_id = "getTrigger",
    params(("id" = String, Path, description = "The trigger: `namespace.name.id`.")),
    responses((status = 200, description = "The trigger.", body = TriggerDoc), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<TriggerDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let executor = &api.app.executor;
    let view = executor.trigger_view(&Tenant::default(), &id).ok_or_else(|| none(&id))?;
    let deliveries = executor.trigger_deliveries(&Tenant::default(), &id, SHOWN).await?;
    Ok(Answer(TriggerDoc::from(view).with(deliveries)))
}

async fn switch(
    api: &Api,
    id: &str,
    request: Request,
    change: TriggerChange,
) -> Result<Answer<TriggerDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small_or_none(&parts.headers, content, &api.app.limits).await?;
    body.as_ref().map_or(Ok(()), |body| Members::of(body).finish())?;
    let view = api.app.executor.switch_trigger(&Tenant::default(), id, change).await?;
    Ok(Answer(view.ok_or_else(|| none(id))?.into()))
}

/// Let a trigger stand still: what happens until it goes on starts nothing, ever. What happened before still does.
#[utoipa::path(
    post, path = "/v1/triggers/{id}/pause", tag = "triggers", operation_id = "pauseTrigger",
    params(("id" = String, Path, description = "The trigger: `namespace.name.id`.")),
    responses((status = 200, description = "It stands still, or did before.", body = TriggerDoc), Problems),
)]
async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<TriggerDoc>, Problem> {
    switch(&api, &id, request, TriggerChange::Pause).await
}

/// Let a trigger go on.
#[utoipa::path(
    post, path = "/v1/triggers/{id}/resume", tag = "triggers", operation_id = "resumeTrigger",
    params(("id" = String, Path, description = "The trigger: `namespace.name.id`.")),
    responses((status = 200, description = "It goes on, or did before.", body = TriggerDoc), Problems),
)]
async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<TriggerDoc>, Problem> {
    switch(&api, &id, request, TriggerChange::Resume).await
}

/// Send to a trigger with `webhook`: JSON, signed as the trigger wants it. What is answered is on disk, and starts one
/// run, however often the sender sends it again within a day.
#[utoipa::path(
    post, path = "/v1/hooks/{id}", tag = "triggers", operation_id = "sendHook",
    params(
        ("id" = String, Path, description = "The trigger: `namespace.name.id`."),
        ("webhook-id" = Option<String>, Header, description = "`standard`: what makes the message the only one."),
        ("webhook-timestamp" = Option<String>, Header, description = "`standard`: seconds since 1970."),
        ("webhook-signature" = Option<String>, Header, description = "`standard`: `v1,` and the HMAC-SHA256."),
        ("x-hub-signature-256" = Option<String>, Header, description = "`github`: `sha256=` and the HMAC-SHA256; `x-github-delivery` makes the message the only one."),
        ("stripe-signature" = Option<String>, Header, description = "`stripe`: `t=` and `v1=`."),
    ),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = 202, description = "It is taken.", body = ReceivedDoc), Problems),
)]
async fn receive(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    let limits = &api.app.limits;
    want_type(&parts.headers, JSON_ONLY)?;
    let bound = Bound { bytes: limits.hook_bytes, limit: "hook_bytes", read_ms: limits.body_read_ms };
    let body = read(&parts.headers, content, bound).await?;
    let data = json(&body, limits.json_depth)?;
    let headers = texts(&parts.headers);
    let taken = api.app.executor.receive(&Tenant::default(), &id, &headers, (&body, data)).await?;
    let (event, starts) = (taken.0.to_string(), taken.1);
    Ok((StatusCode::ACCEPTED, Answer(ReceivedDoc { event, starts })).into_response())
}

/// The headers that are text, in lower case.
fn texts(headers: &HeaderMap) -> Vec<(Arc<str>, Arc<str>)> {
    let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        Some((Arc::from(name.as_str()), Arc::from(value.to_str().ok()?)))
    };
    headers.iter().filter_map(text).collect()
}

impl From<TriggerFault> for Problem {
    fn from(fault: TriggerFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            TriggerFault::Unknown(id) => none(&id),
            TriggerFault::NotBelieved(_) => Problem::new(Code::MessageUnverified, detail),
            TriggerFault::LacksSecret(_) => Problem::new(Code::SecretMissing, detail),
            TriggerFault::Store(fault) => fault.into(),
        }
    }
}
