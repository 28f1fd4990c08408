//! Schedules: looking at them, and what people may do with them.

use super::Api;
use super::body::{Members, Query, small_or_none};
use super::caller::caller;
use super::codes::Code;
use super::faults::BUSY_MS;
use super::openapi::Problems;
use super::problem::Problem;
use super::wire::schedule::{ScheduleDoc, SchedulePage, TriggeredDoc};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::schedule::machine::{Input, Order, Refusal};
use heddle_core::time::Timestamp;
use heddle_executor::WishFault;
use hyper::StatusCode;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(trigger))
        .routes(routes!(backfill))
}

/// Why a schedule is paused.
#[derive(Debug, ToSchema)]
#[schema(as = SchedulePauseRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct PauseRequest {
    /// In the caller's words, at most 1,024 bytes.
    reason: Option<String>,
}

/// The time whose runs are wanted.
#[derive(Debug, ToSchema)]
#[schema(as = BackfillRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct BackfillRequest {
    /// The first instant.
    #[schema(format = "date-time")]
    from: String,
    /// The last instant; not in the future.
    #[schema(format = "date-time")]
    to: String,
    /// `oneByOne` (the next run begins when the one before has ended; so without this) or `atOnce`.
    order: Option<String>,
}

const REASON_BYTES: usize = 1_024;

fn none(id: &str) -> Problem {
    let id: String = id.chars().take(200).collect();
    Problem::new(
        Code::ScheduleNotFound,
        format!("there is no schedule `{id}`; `GET /v1/schedules` lists them"),
    )
}

/// List the schedules of all workflows, by id.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules", operation_id = "listSchedules",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = SchedulePage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<SchedulePage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<String>().unwrap_or_default();
    let limit = query.page(api.app.limits.page_items);
    query.finish()?;
    let mut found = api.app.executor.schedules(&Tenant::default(), &after, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let cursor = found.last().filter(|_| more).map(|view| view.schedule.id.to_string());
    // One whose workflow has it no more keeps its row for a moment.
    let items = found.into_iter().filter(|view| !view.state.retired).map(ScheduleDoc::from);
    Ok(Answer(SchedulePage { items: items.collect(), cursor }))
}

/// Read a schedule: its next times, and what became of its last ticks.
#[utoipa::path(
    get, path = "/v1/schedules/{id}", tag = "schedules", operation_id = "getSchedule",
    params(("id" = String, Path, description = "The schedule: `namespace.name.id`.")),
    responses((status = 200, description = "The schedule.", body = ScheduleDoc), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ScheduleDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let found = api.app.executor.schedule(&Tenant::default(), &id).await?;
    Ok(Answer(found.ok_or_else(|| none(&id))?.into()))
}

/// What a request wants, and who sends it.
struct Wish {
    by: Arc<str>,
    body: Option<Json>,
}

async fn wish(api: &Api, request: Request) -> Result<Wish, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = caller(&parts.headers)?.name().into();
    let body = small_or_none(&parts.headers, content, &api.app.limits).await?;
    Ok(Wish { by, body })
}

/// A body that says nothing.
fn nothing_said(body: Option<&Json>) -> Result<(), Problem> {
    body.map_or(Ok(()), |body| Members::of(body).finish())
}

async fn tell(api: &Api, id: &str, input: &Input) -> Result<Answer<ScheduleDoc>, Problem> {
    let told = api.app.executor.tell_schedule(&Tenant::default(), id, input).await?;
    Ok(Answer(told.ok_or_else(|| none(id))?.into()))
}

/// Let a schedule stand still: its ticks are skipped until it goes on.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/pause", tag = "schedules", operation_id = "pauseSchedule",
    params(("id" = String, Path, description = "The schedule: `namespace.name.id`.")),
    request_body(content = Option<PauseRequest>, content_type = "application/json"),
    responses((status = 200, description = "It stands still, or did before.", body = ScheduleDoc), Problems),
)]
async fn pause(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<ScheduleDoc>, Problem> {
    let Wish { by, body } = wish(&api, request).await?;
    let mut reason = String::new();
    if let Some(body) = &body {
        let mut members = Members::of(body);
        members.text("reason").unwrap_or_default().clone_into(&mut reason);
        if reason.len() > REASON_BYTES {
            members.fault("reason", format!("has {} bytes; at most {REASON_BYTES} are kept", reason.len()));
        }
        members.finish()?;
    }
    tell(&api, &id, &Input::Pause { by, reason: reason.into() }).await
}

/// Let a schedule go on. The ticks of the time between are skipped.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/resume", tag = "schedules", operation_id = "resumeSchedule",
    params(("id" = String, Path, description = "The schedule: `namespace.name.id`.")),
    responses((status = 200, description = "It goes on, or did before.", body = ScheduleDoc), Problems),
)]
async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<ScheduleDoc>, Problem> {
    nothing_said(wish(&api, request).await?.body.as_ref())?;
    tell(&api, &id, &Input::Resume).await
}

/// Ask a schedule for a run now, whether it is paused or not. Its overlap decides what becomes of it.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/trigger", tag = "schedules", operation_id = "triggerSchedule",
    params(("id" = String, Path, description = "The schedule: `namespace.name.id`.")),
    responses((status = 202, description = "What became of it.", body = TriggeredDoc), Problems),
)]
async fn trigger(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Wish { by, body } = wish(&api, request).await?;
    nothing_said(body.as_ref())?;
    let triggered = api.app.executor.trigger(&Tenant::default(), &id, &by).await?;
    let body = TriggeredDoc::from(triggered.ok_or_else(|| none(&id))?);
    Ok((StatusCode::ACCEPTED, Answer(body)).into_response())
}

/// Ask a schedule for the runs of a time that is over, both ends included.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/backfill", tag = "schedules", operation_id = "backfillSchedule",
    params(("id" = String, Path, description = "The schedule: `namespace.name.id`.")),
    request_body(content = BackfillRequest, content_type = "application/json"),
    responses((status = 202, description = "The ticks of that time are recorded.", body = ScheduleDoc), Problems),
)]
async fn backfill(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Wish { by, body } = wish(&api, request).await?;
    let body = body.unwrap_or_else(|| Json::trusted("{}"));
    let mut members = Members::of(&body);
    let (from, to) = (instant(&mut members, "from"), instant(&mut members, "to"));
    let order = match members.text("order") {
        None | Some("oneByOne") => Order::OneByOne,
        Some("atOnce") => Order::AtOnce,
        Some(_) => {
            members.fault("order", "wants `oneByOne` or `atOnce`");
            Order::OneByOne
        }
    };
    members.finish()?;
    // Both are there, or there was a fault.
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let input = Input::Backfill { id: uuid::Uuid::now_v7().to_string().into(), by, from, to, order };
    let answer = tell(&api, &id, &input).await?;
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

fn instant(members: &mut Members<'_>, name: &'static str) -> Option<Timestamp> {
    match members.text(name).map(str::parse) {
        Some(Ok(at)) => Some(at),
        Some(Err(fault)) => {
            members.fault(name, heddle_core::time::TimestampFault::to_string(&fault));
            None
        }
        None => {
            members.fault(name, "is missing: a point in time such as `2026-11-21T06:00:00Z`");
            None
        }
    }
}

impl From<WishFault> for Problem {
    fn from(fault: WishFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            WishFault::Store(fault) => fault.into(),
            WishFault::LeaseLost => Problem::new(Code::StoreUnavailable, detail).after(BUSY_MS),
            WishFault::Refused(refusal) => match refusal {
                Refusal::NotPast { .. } | Refusal::NoTicks { .. } | Refusal::TooMany(_) => {
                    Problem::new(Code::BackfillInvalid, detail)
                }
                Refusal::NoRoom { .. } => Problem::new(Code::QuotaExceeded, detail).after(BUSY_MS),
                Refusal::Retired => Problem::new(Code::ScheduleNotFound, detail),
            },
        }
    }
}
