//! The page at `/`: the latest runs, how the node is, and where everything else is. Plain HTML, made here.

use super::Api;
use super::problem::Problem;
use super::runs::UNREADABLE;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use heddle_core::id::Tenant;
use heddle_core::time::{Span, Timestamp};
use heddle_executor::{Clock as _, Readiness, RunFilter, SystemClock};
use heddle_store::{Listed, RunQuery, RunRow};
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use std::fmt::Write as _;

/// Runs on the page.
const RUNS: u32 = 30;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}\
code{font-size:.9em}a{color:#0b5394}.status{padding:.05rem .5rem;border-radius:.6rem;background:#eee}\
.succeeded{background:#d3f2d3}.failed{background:#ffd0cc}.running,.queued{background:#cfe8ff}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#333}a{color:#8ab4f8}.status{color:#111}}";

pub(super) fn route() -> Router<Api> {
    Router::new().route("/", get(index))
}

async fn index(State(api): State<Api>) -> Result<Response, Problem> {
    let query = RunQuery { tenant: Tenant::default(), limit: RUNS, ..RunQuery::default() };
    let (rows, _) = api.app.executor.runs(query, &RunFilter::default()).await?;
    let html = page(&api, &rows, SystemClock.now());
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)], html)
        .into_response())
}

fn page(api: &Api, rows: &[Listed], now: Timestamp) -> String {
    let report = api.app.executor.report();
    let state = match api.app.executor.readiness() {
        Readiness::Ready => "takes work",
        Readiness::Draining => "is shutting down",
        Readiness::LeaseLost => "has lost its lease",
    };
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>Heddle</title><style>{STYLE}</style>\
         <h1>Heddle</h1><p>Node <code>{}</code> {state}: {} runs under way, {} of {} sandboxes in use. \
         Of the runs that wait, {} wait for a node, {} for a slot of their <code>concurrency</code>, {} for the time at which \
         they are to begin, and {} are parked.</p>",
        escaped(&report.node),
        report.runs_active,
        report.slots.0,
        report.slots.1,
        report.runs_queued,
        report.runs_for_slot,
        report.runs_for_time,
        report.runs_parked,
    );
    out.push_str("<h2>Runs</h2>");
    if rows.is_empty() {
        out.push_str("<p>There are none yet. <code>heddle run FILE --input @in.json --server URL</code> submits one.</p>");
    } else {
        out.push_str("<table><tr><th>Run<th>Workflow<th>Status<th>Accepted<th>Took</tr>");
        for listed in rows {
            match listed {
                Listed::Run(row) => line(&mut out, row, now),
                Listed::Unreadable { run, .. } => {
                    let _ = write!(
                        out,
                        "<tr><td><code>{run}</code><td><td><span class=\"status failed\">{UNREADABLE}</span><td>{}<td>\
                         stop the node, and type <code>heddle doctor</code></tr>",
                        run.created().rfc3339(),
                    );
                }
            }
        }
        out.push_str("</table>");
    }
    out.push_str("<h2>Elsewhere</h2><ul>");
    for (path, what) in [
        ("/openapi.json", "the description of the API"),
        ("/v1/runs", "runs"),
        ("/v1/workflows", "workflows"),
        ("/v1/plugins", "plugins"),
        ("/v1/node", "how the node is"),
        ("/metrics", "metrics"),
        ("/readyz", "whether it takes work"),
        ("/version", "what is running"),
    ] {
        let _ = write!(out, "<li><a href=\"{path}\">{path}</a>: {what}");
    }
    out.push_str("</ul></html>\n");
    out
}

fn line(out: &mut String, row: &RunRow, now: Timestamp) {
    let status = row.status.word();
    let took = Span(row.finished.unwrap_or(now).since_ms(row.created));
    let _ = write!(
        out,
        "<tr><td><a href=\"/v1/runs/{run}\"><code>{run}</code></a> (<a href=\"/v1/runs/{run}/graph?format=mermaid\">graph</a>, \
         <a href=\"/v1/runs/{run}/why\">why</a>)<td>{}@{}<td><span class=\"status {status}\">{status}</span><td>{}<td>{took}</tr>",
        escaped(&row.workflow),
        escaped(&row.workflow_version),
        row.created.rfc3339(),
        run = row.run,
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
