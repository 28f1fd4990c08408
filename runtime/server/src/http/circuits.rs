//! Circuit breakers: looking at them, and closing one by hand.

use super::Api;
use super::body::{Query, small_or_none};
use super::caller::caller;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::rates::page;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use heddle_core::gate::circuit::{Standing, WhenOpen};
use heddle_core::id::Tenant;
use heddle_executor::CircuitReport;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(close))
}

/// A circuit breaker of this node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Circuit)]
#[serde(rename_all = "camelCase")]
struct CircuitDoc {
    /// Its key: what steps give, or the plugin that they call.
    key: String,
    /// `closed`, `open` or `halfOpen`.
    state: &'static str,
    /// Nobody is let through before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    open_until: Option<String>,
    /// Whether the call is under way that decides.
    probing: bool,
    /// Calls in the window.
    calls: u32,
    /// How many of them failed.
    failures: u32,
    /// How often it has opened since the node started.
    opened: u64,
    /// Its rule, as the last step had it that asked.
    rule: CircuitRuleDoc,
}

/// When a circuit opens, and for how long.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CircuitRule)]
#[serde(rename_all = "camelCase")]
struct CircuitRuleDoc {
    /// The share of failed calls at which it opens.
    failure_rate: f64,
    /// With fewer calls in the window it does not open.
    min_calls: u32,
    /// How far back calls count, in milliseconds.
    window_ms: u64,
    /// For how long it stays open, in milliseconds.
    open_for_ms: u64,
    /// What becomes of a call meanwhile: `wait` or `fail`.
    when_open: &'static str,
}

/// A page of circuit breakers.
#[derive(Debug, Serialize, ToSchema)]
struct CircuitPage {
    /// In the order of their keys.
    items: Vec<CircuitDoc>,
    /// For the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl From<CircuitReport> for CircuitDoc {
    fn from(report: CircuitReport) -> CircuitDoc {
        let open_until = match report.standing {
            Standing::Open(until) => Some(until.rfc3339()),
            _ => None,
        };
        let rule = report.rule;
        CircuitDoc {
            key: report.key.to_string(),
            state: report.standing.word(),
            open_until,
            probing: report.standing == Standing::Probing,
            calls: report.calls,
            failures: report.failures,
            opened: report.opened,
            rule: CircuitRuleDoc {
                failure_rate: rule.failure_rate,
                min_calls: rule.min_calls,
                window_ms: rule.window.0,
                open_for_ms: rule.open_for.0,
                when_open: match rule.when_open {
                    WhenOpen::Wait => "wait",
                    WhenOpen::Fail => "fail",
                },
            },
        }
    }
}

/// List the circuit breakers of this node, by key.
///
/// There is one for each key that a step has asked since the node started.
#[utoipa::path(
    get, path = "/v1/circuits", tag = "circuits", operation_id = "listCircuits",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = CircuitPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<CircuitPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<String>();
    let limit = query.page(api.app.limits.page_items) as usize;
    query.finish()?;
    let found = api.app.executor.circuits(&Tenant::default());
    let (items, cursor) = page(found, |report| &report.key, after.as_deref(), limit);
    Ok(Answer(CircuitPage { items: items.into_iter().map(CircuitDoc::from).collect(), cursor }))
}

/// Close a circuit breaker, whatever it has seen.
///
/// Steps that wait for it go on at once.
#[utoipa::path(
    post, path = "/v1/circuits/{key}/close", tag = "circuits", operation_id = "closeCircuit",
    params(
        ("key" = String, Path, description = "The key, percent-encoded."),
        ("Heddle-User" = Option<String>, Header, description = "Who closes it, as a proxy that knows its users says."),
    ),
    responses((status = 200, description = "The circuit.", body = CircuitDoc), Problems),
)]
async fn close(
    State(api): State<Api>,
    Path(key): Path<String>,
    request: Request,
) -> Result<Answer<CircuitDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = caller(&parts.headers)?;
    small_or_none(&parts.headers, content, &api.app.limits).await?;
    let closed = api.app.executor.close_circuit(&Tenant::default(), &key).ok_or_else(|| {
        let key: String = key.chars().take(200).collect();
        Problem::new(
            Code::CircuitNotFound,
            format!("no step of this node has asked a circuit `{key}`; `GET /v1/circuits` lists them"),
        )
    })?;
    tracing::info!(%key, by = by.name(), "a circuit was closed by hand");
    Ok(Answer(closed.into()))
}
