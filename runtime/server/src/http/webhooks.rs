//! Webhooks and what was sent to them.

use super::Api;
use super::body::{Members, Query, small, small_or_none};
use super::caller::caller;
use super::codes::Code;
use super::faults::BUSY_MS;
use super::openapi::Problems;
use super::problem::{Place, Problem};
use super::runs::{no_run, run_id};
use super::wire::webhook::{DeliveryDoc, DeliveryPage, MadeDoc, WebhookDoc, WebhookPage};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use heddle_core::id::Tenant;
use heddle_core::value::Value;
use heddle_core::webhook::DeliveryId;
use heddle_executor::{DeliveryView, WebhookChange, WebhookFault, WebhookWish};
use heddle_store::outbox::{DeliveryQuery, DeliveryStatus};
use hyper::StatusCode;
use hyper::header::LOCATION;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(get, change, remove))
        .routes(routes!(rotate))
        .routes(routes!(test))
        .routes(routes!(deliveries))
        .routes(routes!(delivery))
        .routes(routes!(redeliver))
        .routes(routes!(of_run))
}

/// A webhook that is to be made.
#[derive(Debug, ToSchema)]
#[schema(as = WebhookRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct WebhookRequest {
    /// Where to: `https://host/path`. Whether it may be dialled is judged at each delivery.
    url: String,
    /// Types of the event catalogue, or groups such as `run.*`.
    #[schema(min_items = 1)]
    events: Vec<String>,
    /// Only runs of this workflow, `namespace/name`.
    workflow: Option<String>,
}

/// What is to be different; what is not there stays.
#[derive(Debug, ToSchema)]
#[schema(as = WebhookPatch)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct ChangeRequest {
    /// Where to.
    url: Option<String>,
    /// Types of the event catalogue, or groups such as `run.*`.
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    /// Only runs of this workflow; empty for all.
    workflow: Option<String>,
    /// Whether anything is sent to it.
    enabled: Option<bool>,
}

fn none(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    Problem::new(Code::WebhookNotFound, format!("there is no webhook `{id}`; `GET /v1/webhooks` lists them"))
}

fn no_delivery(id: &str) -> Problem {
    let id: String = id.chars().take(64).collect();
    let detail = format!("there is no delivery `{id}`; `GET /v1/deliveries` lists them");
    Problem::new(Code::DeliveryNotFound, detail)
}

/// A delivery's id; what is none names no delivery.
fn delivery_id(id: &str) -> Result<DeliveryId, Problem> {
    id.parse().map_err(|_| no_delivery(id))
}

/// List the webhooks: those that were made here, those of the node, and those of workflows that nothing is sent to.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "listWebhooks",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page, by id.", body = WebhookPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<WebhookPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<String>().unwrap_or_default();
    let limit = query.page(api.app.limits.page_items) as usize;
    query.finish()?;
    let mut found = api.app.executor.webhooks(&Tenant::default(), &after, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(|view| view.id.to_string());
    Ok(Answer(WebhookPage { items: found.into_iter().map(WebhookDoc::from).collect(), cursor }))
}

/// Make a webhook. Its secret is in this answer and in no other.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", operation_id = "createWebhook",
    request_body(content = WebhookRequest, content_type = "application/json"),
    responses((status = 201, description = "It is there; what happens from now on is told.", body = MadeDoc), Problems),
)]
async fn make(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = caller(&parts.headers)?.name().into();
    let body = small(&parts.headers, content, &api.app.limits).await?;
    let mut members = Members::of(&body);
    let url = members.text("url").map(str::to_owned);
    if url.is_none() {
        members.fault("url", "is missing: an address such as `https://host/path`");
    }
    let events = events(&mut members);
    if events.is_none() {
        members.fault("events", "is missing: a list such as `[\"run.failed\"]`");
    }
    let workflow = members.text("workflow").map(str::to_owned);
    members.finish()?;
    let wish = WebhookWish {
        url: url.unwrap_or_default(),
        events: events.unwrap_or_default(),
        workflow,
        by: Some(by),
    };
    let (view, secret) = api.app.executor.make_webhook(&Tenant::default(), wish).await?;
    let location = format!("/v1/webhooks/{}", view.id);
    let made = MadeDoc { webhook: view.into(), secret: secret.reveal() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Answer(made)).into_response())
}

/// A member that is a list of texts.
fn events(members: &mut Members<'_>) -> Option<Vec<String>> {
    let given = members.get("events")?;
    let Value::List(items) = given else {
        members.fault("events", format!("wants a list, and this is {}", given.type_name()));
        return Some(Vec::new());
    };
    let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    if texts.is_none() {
        members.fault("events", "wants a list of texts");
    }
    Some(texts.unwrap_or_default())
}

/// Read a webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "getWebhook",
    params(("id" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "The webhook, without its secret.", body = WebhookDoc), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<WebhookDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let found = api.app.executor.webhook(&Tenant::default(), &id).ok_or_else(|| none(&id))?;
    Ok(Answer(found.into()))
}

/// Change a webhook, or switch it on or off. One that stands in a workflow or in the node's configuration is only
/// switched here.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "updateWebhook",
    params(("id" = String, Path, description = "The webhook.")),
    request_body(content = ChangeRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The webhook as it is now.", body = WebhookDoc),
        (status = 204, description = "One of a workflow, which is shown no more now that it is on."),
        Problems,
    ),
)]
async fn change(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small(&parts.headers, content, &api.app.limits).await?;
    let mut members = Members::of(&body);
    let url = members.text("url").map(str::to_owned);
    let events = events(&mut members);
    let workflow = members.text("workflow").map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let enabled = members.flag("enabled");
    members.finish()?;
    let (executor, tenant) = (&api.app.executor, Tenant::default());
    if executor.webhook(&tenant, &id).is_none() {
        return Err(none(&id));
    }
    let change = WebhookChange { url, events, workflow, enabled };
    Ok(match executor.change_webhook(&tenant, &id, change).await? {
        Some(view) => Answer(WebhookDoc::from(view)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Remove a webhook. What waits for it is given up.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "deleteWebhook",
    params(("id" = String, Path, description = "The webhook.")),
    responses((status = 204, description = "It is gone."), Problems),
)]
async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    Query::of(query.as_deref()).finish()?;
    match api.app.executor.remove_webhook(&Tenant::default(), &id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(none(&id)),
    }
}

/// A body that says nothing.
async fn nothing_said(api: &Api, request: Request) -> Result<(), Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small_or_none(&parts.headers, content, &api.app.limits).await?;
    body.map_or(Ok(()), |body| Members::of(&body).finish())
}

/// Give a webhook another secret, which is in this answer and in no other. The one before signs as well for a while
/// (`limits.webhook_rotation_ms`).
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", operation_id = "rotateWebhook",
    params(("id" = String, Path, description = "The webhook.")),
    responses((status = 200, description = "The webhook, with its new secret.", body = MadeDoc), Problems),
)]
async fn rotate(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<MadeDoc>, Problem> {
    nothing_said(&api, request).await?;
    let rotated = api.app.executor.rotate_webhook(&Tenant::default(), &id).await?;
    let (view, secret) = rotated.ok_or_else(|| none(&id))?;
    Ok(Answer(MadeDoc { webhook: view.into(), secret: secret.reveal() }))
}

/// Send a webhook a message that says nothing, of type `webhook.test`.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "testWebhook",
    params(("id" = String, Path, description = "The webhook.")),
    responses((status = 202, description = "It is on its way.", body = DeliveryDoc), Problems),
)]
async fn test(State(api): State<Api>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    nothing_said(&api, request).await?;
    let sent = api.app.executor.test_webhook(&Tenant::default(), &id).await?.ok_or_else(|| none(&id))?;
    Ok((StatusCode::ACCEPTED, Answer(DeliveryDoc::whole(sent))).into_response())
}

/// A page of deliveries.
async fn page(api: &Api, query: DeliveryQuery) -> Result<Answer<DeliveryPage>, Problem> {
    let limit = query.limit;
    let wider = DeliveryQuery { limit: limit + 1, ..query };
    let mut found: Vec<DeliveryView> = api.app.executor.deliveries(wider).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let cursor = found.last().filter(|_| more).map(|view| view.delivery.id.to_string());
    Ok(Answer(DeliveryPage { items: found.into_iter().map(DeliveryDoc::short).collect(), cursor }))
}

/// List what was sent to webhooks, and what waits to be, newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "webhooks", operation_id = "listDeliveries",
    params(
        ("webhook" = Option<String>, Query, description = "Only to this webhook."),
        ("run" = Option<String>, Query, description = "Only of this run."),
        ("status" = Option<String>, Query, description = "`waiting`, `delivered` or `failed`."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = DeliveryPage), Problems),
)]
async fn deliveries(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Answer<DeliveryPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let endpoint = query.get("webhook").map(Arc::from);
    let run = query.read("run", "the id of a run", |text| text.parse().ok());
    let status = query.read("status", "`waiting`, `delivered` or `failed`", |text| {
        DeliveryStatus::ALL.into_iter().find(|status| status.word() == text)
    });
    let before = query.cursor();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    page(&api, DeliveryQuery { tenant: Tenant::default(), endpoint, run, status, before, limit }).await
}

/// List what was sent to webhooks about a run, newest first.
#[utoipa::path(
    get, path = "/v1/runs/{id}/deliveries", tag = "webhooks", operation_id = "listRunDeliveries",
    params(
        ("id" = String, Path, description = "The run."),
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = DeliveryPage), Problems),
)]
async fn of_run(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<DeliveryPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let before = query.cursor();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let (run, tenant) = (run_id(&id)?, Tenant::default());
    if api.app.executor.journal(&tenant, run, 0, 1).await?.is_none() {
        return Err(no_run(&id));
    }
    page(&api, DeliveryQuery { tenant, run: Some(run), before, limit, ..DeliveryQuery::default() }).await
}

/// Read a delivery: its tries, and the message.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "webhooks", operation_id = "getDelivery",
    params(("id" = String, Path, description = "The delivery.")),
    responses((status = 200, description = "The delivery.", body = DeliveryDoc), Problems),
)]
async fn delivery(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<DeliveryDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let found = api.app.executor.delivery(&Tenant::default(), delivery_id(&id)?).await?;
    Ok(Answer(DeliveryDoc::whole(found.ok_or_else(|| no_delivery(&id))?)))
}

/// Send a message once more, under the same id, whatever became of it.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/redeliver", tag = "webhooks", operation_id = "redeliver",
    params(("id" = String, Path, description = "The delivery.")),
    responses((status = 202, description = "It is on its way.", body = DeliveryDoc), Problems),
)]
async fn redeliver(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    nothing_said(&api, request).await?;
    let sent = api.app.executor.redeliver(&Tenant::default(), delivery_id(&id)?).await?;
    let sent = sent.ok_or_else(|| no_delivery(&id))?;
    Ok((StatusCode::ACCEPTED, Answer(DeliveryDoc::whole(sent))).into_response())
}

impl From<WebhookFault> for Problem {
    fn from(fault: WebhookFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            WebhookFault::Invalid { pointer, message } => Problem::new(Code::WebhookInvalid, detail)
                .at([Place { pointer, message, ..Place::default() }]),
            WebhookFault::Elsewhere { .. } | WebhookFault::Off { .. } | WebhookFault::Removed(_) => {
                Problem::new(Code::WebhookConflict, detail)
            }
            WebhookFault::Full { .. } => Problem::new(Code::QuotaExceeded, detail).after(BUSY_MS),
            WebhookFault::LeaseLost => Problem::new(Code::StoreUnavailable, detail).after(BUSY_MS),
            WebhookFault::Store(fault) => fault.into(),
        }
    }
}
