//! Rate limits: looking at them.

use super::Api;
use super::body::Query;
use super::openapi::Problems;
use super::problem::Problem;
use axum::Json as Answer;
use axum::extract::{RawQuery, State};
use heddle_core::gate::rate::OnLimit;
use heddle_core::id::Tenant;
use heddle_executor::RateReport;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A rate limit of this node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rate)]
#[serde(rename_all = "camelCase")]
struct RateDoc {
    /// Its key: what steps give, or the plugin that they call.
    key: String,
    /// Attempts that have come to it and not begun: they wait for their turn, or for a sandbox.
    waiting: u32,
    /// Milliseconds until the next call may begin; 0 when it may now.
    next_in_ms: u64,
    /// Its rule, as the last step had it that asked.
    rule: RateRuleDoc,
}

/// So many in so long.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RateRule)]
#[serde(rename_all = "camelCase")]
struct RateRuleDoc {
    /// How many.
    limit: u32,
    /// In how long, in milliseconds.
    period_ms: u64,
    /// How many at once after a quiet time.
    burst: u32,
    /// What becomes of a call that comes too early: `queue` or `reject`.
    on_limit: &'static str,
}

/// A page of rate limits.
#[derive(Debug, Serialize, ToSchema)]
struct RatePage {
    /// In the order of their keys.
    items: Vec<RateDoc>,
    /// For the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl From<RateReport> for RateDoc {
    fn from(report: RateReport) -> RateDoc {
        let rule = report.rule;
        RateDoc {
            key: report.key.to_string(),
            waiting: report.waiting,
            next_in_ms: report.next_in_ms,
            rule: RateRuleDoc {
                limit: rule.limit,
                period_ms: rule.period.0,
                burst: rule.burst,
                on_limit: match rule.on_limit {
                    OnLimit::Queue => "queue",
                    OnLimit::Reject => "reject",
                },
            },
        }
    }
}

/// List the rate limits of this node, by key.
///
/// There is one for each key that a step has come to since the node started; idle ones may have been forgotten.
#[utoipa::path(
    get, path = "/v1/rates", tag = "circuits", operation_id = "listRates",
    params(
        ("cursor" = Option<String>, Query, description = "From the last page."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Items of the page, at most `limits.page_items`."),
    ),
    responses((status = 200, description = "A page.", body = RatePage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<RatePage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let after = query.cursor::<String>();
    let limit = query.page(api.app.limits.page_items) as usize;
    query.finish()?;
    let found = api.app.executor.rates(&Tenant::default());
    let (items, cursor) = page(found, |report| &report.key, after.as_deref(), limit);
    Ok(Answer(RatePage { items: items.into_iter().map(RateDoc::from).collect(), cursor }))
}

/// A page of what stands in the order of its keys, and where the next one begins.
pub(super) fn page<T>(
    mut all: Vec<T>,
    key: impl Fn(&T) -> &str,
    after: Option<&str>,
    limit: usize,
) -> (Vec<T>, Option<String>) {
    all.retain(|item| after.is_none_or(|after| key(item) > after));
    let more = all.len() > limit;
    all.truncate(limit);
    let cursor = all.last().filter(|_| more).map(|item| key(item).to_owned());
    (all, cursor)
}
