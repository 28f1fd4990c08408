//! How the node is: for whoever starts, balances and watches it.

use super::Api;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use axum::Json as Answer;
use axum::extract::State;
use heddle_executor::Readiness;
use hyper::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(version))
        .routes(routes!(metrics))
        .routes(routes!(node))
}

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", tag = "node", operation_id = "livez", responses((status = 200, description = "It is.", body = Health), Problems))]
async fn livez() -> Answer<Health> {
    Answer(Health { status: "ok" })
}

/// Whether the node takes work.
#[utoipa::path(get, path = "/readyz", tag = "node", operation_id = "readyz", responses((status = 200, description = "It does.", body = Health), Problems))]
async fn readyz(State(api): State<Api>) -> Result<Answer<Health>, Problem> {
    match api.app.executor.readiness() {
        Readiness::Ready => Ok(Answer(Health { status: "ok" })),
        Readiness::Draining => Err(Problem::new(Code::Draining, "the node is shutting down").after(5_000)),
        Readiness::LeaseLost => {
            Err(Problem::new(Code::StoreUnavailable, "the node has lost its lease and drives nothing")
                .after(5_000))
        }
    }
}

/// What is running.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Version {
    /// `heddle`.
    name: &'static str,
    /// The version of the program.
    version: &'static str,
    /// The contracts that plugins are built against.
    contracts: Vec<&'static str>,
    /// The node's name.
    node: String,
}

/// What is running here.
#[utoipa::path(get, path = "/version", tag = "node", operation_id = "version", responses((status = 200, description = "The version.", body = Version), Problems))]
async fn version(State(api): State<Api>) -> Answer<Version> {
    Answer(Version {
        name: "heddle",
        version: env!("CARGO_PKG_VERSION"),
        contracts: vec!["heddle:plugin@0.1.0", "heddle:host@0.1.0"],
        node: api.app.executor.report().node,
    })
}

/// The metrics of the process, in Prometheus' text form.
#[utoipa::path(get, path = "/metrics", tag = "node", operation_id = "metrics", responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain"), Problems))]
async fn metrics(State(api): State<Api>) -> ([(hyper::header::HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.app.metrics.render())
}

/// How the node is, for `heddle doctor`.
#[derive(Debug, Serialize, ToSchema)]
struct NodeReport {
    /// The executor: runs, slots, queues, cache.
    #[schema(value_type = serde_json::Value)]
    executor: heddle_executor::ExecutorReport,
    /// The store.
    #[schema(value_type = serde_json::Value)]
    store: heddle_store::StoreReport,
    /// Limits that the numbers are to be held against.
    #[schema(value_type = serde_json::Value)]
    limits: serde_json::Value,
}

/// How the node is: queues, slots, caches, the store with an integrity check.
#[utoipa::path(get, path = "/v1/node", tag = "node", operation_id = "node", responses((status = 200, description = "The report.", body = NodeReport), Problems))]
async fn node(State(api): State<Api>) -> Result<Answer<NodeReport>, Problem> {
    let store = api.app.executor.store_report(heddle_store::ReportDepth::Deep).await?;
    let limits = &api.app.limits;
    let limits = serde_json::json!({
        "runsActive": limits.runs_active, "runsQueued": limits.runs_queued, "runsForSlot": limits.runs_for_slot,
        "runsForTime": limits.runs_for_time, "runsParked": limits.runs_parked, "subscriptions": limits.subscriptions,
        "deliveriesWaiting": limits.deliveries_waiting,
    });
    Ok(Answer(NodeReport { executor: api.app.executor.report(), store, limits }))
}
