//! `POST /v1/runs`: the request of a client becomes the wish of a caller. The answer follows the commit, so a client
//! that vanishes in between loses the answer and not the run.

use super::Api;
use super::body::{self, Bound, Members};
use super::caller::caller;
use super::codes::Code;
use super::faults::unreadable_document;
use super::guard::Trace;
use super::openapi::Problems;
use super::prefer::Preferences;
use super::problem::Problem;
use super::runs::preferred;
use super::server::over;
use super::wire::catalog::Accepted;
use super::wire::run::RunDoc;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use heddle_core::document::Doc;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::WorkflowRef;
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Value;
use heddle_executor::{Clock as _, Repeated, Submit, SystemClock, Timing, WorkflowChoice};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(submit))
}

/// A wish for a run: either `workflow` or `definition`.
#[derive(Debug, ToSchema)]
#[schema(as = RunRequest, rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct RunRequest {
    /// A published workflow: `namespace/name`, or `namespace/name@range`.
    workflow: Option<String>,
    /// A workflow, as an object or as YAML text.
    #[schema(value_type = Option<serde_json::Value>)]
    definition: Option<serde_json::Value>,
    /// The input; `{}` where there is none.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<serde_json::Value>,
    /// Labels for finding it.
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

/// Accept a run.
///
/// What is answered is on disk. The same `Idempotency-Key` with the same request gives the same run for 24 hours. With
/// `Prefer: wait=30` the answer is 200 with the whole run, if it ends within that many seconds; with
/// `Prefer: wait=30, return=minimal` it is the run without its steps.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", operation_id = "submitRun",
    request_body(content = RunRequest, content_type = "application/json"),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 visible ASCII characters.", min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
        ("Heddle-User" = Option<String>, Header, description = "Who asks for the run, as a proxy that knows its users says."),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: seconds that the answer may take. `return=minimal`: the run without its steps."),
    ),
    responses(
        (status = 200, description = "The run has ended within the time that `Prefer` gave.", body = RunDoc),
        (status = 202, description = "The run was accepted.", body = Accepted, headers(("Location" = String, description = "Path of the run."))),
        Problems,
    ),
)]
async fn submit(
    State(api): State<Api>,
    Extension(trace): Extension<Trace>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    let headers = parts.headers;
    body::Query::of(parts.uri.query()).finish()?;
    body::want_type(&headers, &["application/json"])?;
    let idempotency = idempotency_key(&headers)?;
    let limits = &api.app.limits;
    let mut prefer = Preferences::of(&headers);
    prefer.wait = prefer.wait.map(|wait| wait.min(Duration::from_millis(limits.prefer_wait_ms)));
    let bytes = body::read(&headers, content, Bound::small(limits)).await?;
    let wish = body::json(&bytes, limits.json_depth)?;
    let Asked { workflow, input, labels, timing } = read(&api, &wish)?;
    let tenant = Tenant::default();
    let wish = Submit {
        tenant: tenant.clone(),
        workflow,
        input,
        labels,
        by: Some(caller(&headers)?.name().into()),
        idempotency,
        traceparent: trace.parent,
        timing,
        rerun: None,
    };
    let submitted = api.app.executor.submit(wish).await?;
    match prefer.wait {
        Some(wait) => wait_for(&api, &tenant, submitted.run, wait, prefer).await,
        // One that was there before may have gone on since.
        None if submitted.repeated == Repeated::Yes => {
            let detail = api.app.executor.run(&tenant, submitted.run).await?;
            Ok(accepted(submitted.run, detail.map_or("queued", |detail| detail.view.status)))
        }
        None => Ok(accepted(submitted.run, "queued")),
    }
}

/// What is to be run, on what, and when.
struct Asked {
    workflow: WorkflowChoice,
    input: Json,
    labels: Vec<(String, String)>,
    timing: Timing,
}

fn read(api: &Api, wish: &Json) -> Result<Asked, Problem> {
    let mut members = Members::of(wish);
    let named = members.text("workflow").map(str::to_owned);
    let definition = members.get("definition").cloned();
    let input = members.get("input").cloned();
    let labels = members.texts("labels");
    let timing = timing(&mut members);
    match (&named, &definition) {
        (None, None) => members.fault("", "wants `workflow` (a name) or `definition` (the workflow itself)"),
        (Some(_), Some(_)) => {
            members.fault(
                "",
                "`workflow` and `definition` are both given; which of them is meant? Leave one out",
            );
        }
        _ => {}
    }
    let named = named.map(|name| WorkflowRef::parse(&name)).transpose().unwrap_or_else(|fault| {
        members.fault("workflow", fault.to_string());
        None
    });
    if let Some(definition) = &definition
        && !matches!(definition, Value::Map(_) | Value::String(_))
    {
        members.fault(
            "definition",
            format!("wants an object, or YAML as text, and this is {}", definition.type_name()),
        );
    }
    members.finish()?;
    let workflow = match (named, definition) {
        (Some(name), _) => WorkflowChoice::Named(name),
        (None, Some(Value::String(text))) => {
            WorkflowChoice::Inline(Doc::parse(&text, &api.app.limits).map_err(unreadable_document)?)
        }
        (None, definition) => WorkflowChoice::Inline(Doc::of_value(&definition.unwrap_or_default())),
    };
    let input = Json::from_value(input.unwrap_or_else(|| Value::map::<Arc<str>>([])));
    Ok(Asked { workflow, input, labels, timing })
}

pub(super) fn timing(members: &mut Members<'_>) -> Timing {
    let mut time = |name: &'static str| {
        let text = members.text(name)?;
        let read = text.parse::<Timestamp>();
        read.map_err(|fault| members.fault(name, fault.to_string())).ok()
    };
    let (start_at, deadline) = (time("startAt"), time("deadline"));
    let delay = members.text("delay").and_then(|text| {
        let read = Span::parse(text);
        read.map_err(|fault| members.fault("delay", fault.to_string())).ok()
    });
    if start_at.is_some() && delay.is_some() {
        members.fault("delay", "`startAt` and `delay` both say when the run begins; leave one out");
    }
    let priority = match members.get("priority") {
        None => None,
        Some(Value::Int(level @ 1..=5)) => Some(*level as u8),
        Some(_) => {
            members.fault("priority", "wants a whole number from 1 (first) to 5");
            None
        }
    };
    let start_at = start_at.or(delay.map(|delay| SystemClock.now().plus_ms(delay.0)));
    Timing { start_at, deadline, priority }
}

pub(super) fn accepted(run: RunId, status: &str) -> Response {
    let body = Accepted { id: run.to_string(), status: status.to_owned(), changed: None };
    let mut response = (StatusCode::ACCEPTED, Answer(body)).into_response();
    locate(&mut response, &format!("/v1/runs/{run}"));
    response
}

/// Says where the thing is that was made.
pub(super) fn locate(response: &mut Response, path: &str) {
    // Ids and names are ASCII without control characters.
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
}

async fn wait_for(
    api: &Api,
    tenant: &Tenant,
    run: RunId,
    wait: Duration,
    prefer: Preferences,
) -> Result<Response, Problem> {
    let detail = tokio::select! {
        detail = api.app.executor.wait(tenant, run, wait) => detail?,
        () = over(api.ending.clone()) => None,
    };
    let ended = detail.filter(|detail| detail.view.finished_at.is_some());
    let Some(detail) = ended else { return Ok(accepted(run, "queued")) };
    let mut response = preferred(api, &detail, prefer);
    locate(&mut response, &format!("/v1/runs/{run}"));
    Ok(response)
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let detail = "`Idempotency-Key` is given more than once; which of them is meant? Send one";
        return Err(Problem::new(Code::ParameterInvalid, detail));
    }
    let fault =
        || Problem::new(Code::ParameterInvalid, "`Idempotency-Key` is 1 to 255 visible ASCII characters");
    let text = value.to_str().map_err(|_| fault())?;
    match (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Some(text.into())),
        false => Err(fault()),
    }
}
