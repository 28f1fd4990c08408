//! What a person may do with one step of a run: have it tried again, skip it, let it fail, stop it.

use super::Api;
use super::body::{Members, Query, small_or_none};
use super::caller::caller;
use super::codes::Code;
use super::control::answer;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::run_id;
use super::wire::catalog::Accepted;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::run::event::Order;
use heddle_core::run::orders::Wish;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(retry))
        .routes(routes!(skip))
        .routes(routes!(fail))
        .routes(routes!(cancel))
}

/// A step is to be tried again.
#[derive(Debug, ToSchema)]
#[schema(as = RetryStepRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct RetryRequest {
    /// What it is tried with, where that is not its own input.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<serde_json::Value>,
    /// Why, at most 4,096 bytes.
    comment: Option<String>,
}

/// A step is to be skipped.
#[derive(Debug, ToSchema)]
#[schema(as = SkipStepRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct SkipRequest {
    /// What stands for its output; null without it.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<serde_json::Value>,
    /// Why, at most 4,096 bytes.
    comment: Option<String>,
}

/// A step is to fail, or to be stopped.
#[derive(Debug, ToSchema)]
#[schema(as = EndStepRequest)]
#[allow(dead_code, reason = "read by name; here for the API's description")]
struct EndRequest {
    /// Why, at most 4,096 bytes.
    comment: Option<String>,
}

const COMMENT_BYTES: usize = 4_096;

/// Reads the request, tells the run, and answers when it is on disk. `value` is the member that the wish is made from.
async fn order(
    api: &Api,
    (run, step): (String, String),
    request: Request,
    value: Option<&'static str>,
    wish: impl FnOnce(Option<Json>) -> Wish,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let (run, caller) = (run_id(&run)?, caller(&parts.headers)?);
    let limits = &api.app.limits;
    let (mut comment, mut given) = (String::new(), None);
    if let Some(body) = small_or_none(&parts.headers, content, limits).await? {
        let mut members = Members::of(&body);
        comment = members.text("comment").unwrap_or_default().to_owned();
        if comment.len() > COMMENT_BYTES {
            members
                .fault("comment", format!("has {} bytes; at most {COMMENT_BYTES} are kept", comment.len()));
        }
        given = value.and_then(|name| members.get(name).cloned()).map(Json::from_value);
        members.finish()?;
    }
    if let (Some(size), Some(name)) = (given.as_ref().map(Json::size), value)
        && size as u64 > limits.inline_bytes
    {
        let detail = format!("`{name}` has {size} bytes; the limit inline_bytes is {}", limits.inline_bytes);
        return Err(Problem::new(Code::InputTooLarge, detail));
    }
    let what = wish(given);
    let word = what.word();
    let order = Order { by: caller.name().into(), comment: comment.into(), what };
    let who = (step.as_str(), caller.groups.as_slice());
    let delivery = api.app.executor.order(&Tenant::default(), run, who, order).await?;
    answer(delivery, run, word)
}

/// Try a step again that has failed for good and asks (`onFailure: ask`). What is answered is on disk.
///
/// It has its whole retry policy and its fallbacks again. With `input`, it is tried with that from now on.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/retry", tag = "runs", operation_id = "retryStep",
    params(
        ("id" = String, Path, description = "The run."),
        ("step" = String, Path, description = "The step."),
        ("Heddle-User" = Option<String>, Header, description = "Who decides."),
        ("Heddle-Groups" = Option<String>, Header, description = "Their groups, separated by commas."),
    ),
    request_body(content = Option<RetryRequest>, content_type = "application/json"),
    responses((status = 202, description = "The step will be tried again.", body = Accepted), Problems),
)]
async fn retry(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    order(&api, place, request, Some("input"), |input| Wish::Retry { input }).await
}

/// Skip a step whose workflow says `skippable: true`: one that asks, runs, waits, or has not begun.
///
/// `value` stands for its output. What depends on it goes on as after a step that was skipped.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/skip", tag = "runs", operation_id = "skipStep",
    params(
        ("id" = String, Path, description = "The run."),
        ("step" = String, Path, description = "The step."),
        ("Heddle-User" = Option<String>, Header, description = "Who decides."),
        ("Heddle-Groups" = Option<String>, Header, description = "Their groups, separated by commas."),
    ),
    request_body(content = Option<SkipRequest>, content_type = "application/json"),
    responses((status = 202, description = "The step is skipped.", body = Accepted), Problems),
)]
async fn skip(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    order(&api, place, request, Some("value"), |value| Wish::Skip { value: value.unwrap_or_else(Json::null) })
        .await
}

/// Let a step fail that has failed for good and asks, as it would have without asking.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/fail", tag = "runs", operation_id = "failStep",
    params(
        ("id" = String, Path, description = "The run."),
        ("step" = String, Path, description = "The step."),
        ("Heddle-User" = Option<String>, Header, description = "Who decides."),
        ("Heddle-Groups" = Option<String>, Header, description = "Their groups, separated by commas."),
    ),
    request_body(content = Option<EndRequest>, content_type = "application/json"),
    responses((status = 202, description = "The step fails.", body = Accepted), Problems),
)]
async fn fail(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    order(&api, place, request, None, |_| Wish::Fail {}).await
}

/// Stop one step of `steps`; the run goes on without it.
///
/// Steps that depend on it are skipped, unless their `dependsOn` accepts `cancelled`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/steps/{step}/cancel", tag = "runs", operation_id = "cancelStep",
    params(
        ("id" = String, Path, description = "The run."),
        ("step" = String, Path, description = "The step."),
        ("Heddle-User" = Option<String>, Header, description = "Who decides."),
        ("Heddle-Groups" = Option<String>, Header, description = "Their groups, separated by commas."),
    ),
    request_body(content = Option<EndRequest>, content_type = "application/json"),
    responses((status = 202, description = "The step is stopped.", body = Accepted), Problems),
)]
async fn cancel(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    order(&api, place, request, None, |_| Wish::Cancel {}).await
}
