//! What the agents of a run have asked and what they were told: their call logs.

use super::Api;
use super::body::Query;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::{no_run, run_id};
use super::wire::spent::SpentDoc;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, State};
use heddle_core::call_log::Entry;
use heddle_core::id::Tenant;
use heddle_core::run::event::Payload;
use heddle_store::CallRow;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One entry of a call log.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallEntry)]
pub(crate) struct CallDoc {
    /// The log: the step, the item where there is one, a mark of the agent and its goal, and how often that has failed by
    /// itself before.
    pub log: String,
    /// The place in it, from 1.
    pub seq: u64,
    /// `opened`, `asked`, `answered`, `picked` (which of several were there first) or `continued` (with a state, from which
    /// it began afresh).
    pub what: &'static str,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub at: Option<String>,
    /// Which call, from 0, in the agent's own order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// What it asked for: `model`, `models`, `tools`, `http`, `kv`, `secret` or `config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// What was asked, what was told, or the state: no secret is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// Where that is, if it is large: its digest; `GET /v1/runs/{id}/values/{digest}` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<String>,
    /// The places of those that were there first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picked: Option<Vec<u32>>,
    /// What it cost, where a model was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<SpentDoc>,
}

/// Entries of call logs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallPage {
    /// Log by log, each in the order in which its agent asked and was told.
    pub items: Vec<CallDoc>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

fn document(row: CallRow) -> CallDoc {
    let base = CallDoc { log: row.log.to_string(), seq: row.seq, ..CallDoc::default() };
    match row.entry {
        Entry::Opened { at, .. } => CallDoc { what: "opened", at: Some(at.rfc3339()), ..base },
        Entry::Asked { call, capability, request, at, .. } => {
            let (value, value_ref) = shown(request);
            let (at, call, capability) = (Some(at.rfc3339()), Some(call), Some(capability));
            CallDoc { what: "asked", at, call, capability, value, value_ref, ..base }
        }
        Entry::Answered { call, answer, at, spent, .. } => {
            let (value, value_ref) = shown(answer);
            let (at, call, spent) = (Some(at.rfc3339()), Some(call), SpentDoc::of(spent));
            CallDoc { what: "answered", at, call, value, value_ref, spent, ..base }
        }
        Entry::Picked { these, .. } => CallDoc { what: "picked", picked: Some(these), ..base },
        Entry::Continued { state, at } => {
            let (value, value_ref) = shown(state);
            CallDoc { what: "continued", at: Some(at.rfc3339()), value, value_ref, ..base }
        }
    }
}

fn shown(payload: Payload) -> (Option<Value>, Option<String>) {
    match payload {
        Payload::Inline(json) => (serde_json::from_str(json.text()).ok(), None),
        Payload::Stored { digest, .. } => (None, Some(digest.to_string())),
        Payload::Derived => (None, None),
    }
}

/// List what the agents of a run have asked, and what they were told.
///
/// An agent that was cut off is run again and told the same, until it asks what nobody has answered.
#[utoipa::path(
    get, path = "/v1/runs/{id}/calls", tag = "runs", operation_id = "listCalls",
    params(
        ("id" = String, Path, description = "The run."),
        ("limit" = Option<u32>, Query, description = "Entries of a page; as many as `limits.page_items` allows at most."),
        ("cursor" = Option<String>, Query, description = "Where the page before ended."),
    ),
    responses((status = 200, description = "Entries of its call logs.", body = CallPage), Problems),
)]
async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<CallPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let limit = query.page(api.app.limits.page_items);
    let after = query.read("cursor", "the cursor of the page before", place);
    query.finish()?;
    let run = run_id(&id)?;
    let rows = api.app.executor.calls(&Tenant::default(), run, after, limit + 1).await?;
    let mut rows = rows.ok_or_else(|| no_run(&id))?;
    let is_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| is_more);
    let cursor = last.map(|row| format!("{}~{}", row.log, row.seq));
    Ok(Answer(CallPage { items: rows.into_iter().map(document).collect(), cursor }))
}

/// A log and a number in it.
fn place(text: &str) -> Option<(Arc<str>, u64)> {
    let (log, seq) = text.rsplit_once('~')?;
    Some((log.into(), seq.parse().ok()?))
}
