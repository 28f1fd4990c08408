//! `POST /v1/runs/{id}/migrate`: a run in flight goes on with another version of its workflow.

use super::Api;
use super::body::{Members, Query, small};
use super::caller::caller;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::{Place, Problem};
use super::runs::{no_run, run_id};
use super::submit::accepted;
use super::wire::catalog::Accepted;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use heddle_core::id::Tenant;
use heddle_core::run::migrate::Unmovable;
use heddle_executor::{MigrateFault, SnapshotFault};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(migrate))
}

/// With what a run is to go on.
#[derive(Debug, ToSchema)]
#[schema(as = MigrateRequest)]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct MigrateRequest {
    /// A version of its workflow, such as `1.1.0`.
    version: String,
}

impl From<MigrateFault> for Problem {
    fn from(fault: MigrateFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            MigrateFault::NoSuchRun(run) => no_run(&run.to_string()),
            MigrateFault::NoSuchVersion(_) => Problem::new(Code::WorkflowNotFound, detail),
            MigrateFault::NotRunnable(_) | MigrateFault::Template(_) => {
                Problem::new(Code::WorkflowState, detail)
            }
            MigrateFault::Unmovable(Unmovable::Ended) => Problem::new(Code::RunEnded, detail),
            MigrateFault::Same { .. } | MigrateFault::Unmovable(_) => {
                Problem::new(Code::MigrationRefused, detail)
            }
            MigrateFault::Differs { obstacles, .. } => {
                let place = |o: heddle_core::run::migrate::Obstacle| Place {
                    pointer: o.path,
                    message: o.message,
                    ..Place::default()
                };
                let detail = match obstacles.as_slice() {
                    [one] => one.message.clone(),
                    _ => detail,
                };
                Problem::new(Code::MigrationRefused, detail).at(obstacles.into_iter().map(place))
            }
            MigrateFault::Snapshot(SnapshotFault::Unresolved(_)) => Problem::new(Code::PluginMissing, detail),
            MigrateFault::Snapshot(SnapshotFault::Store(fault)) => fault.into(),
            MigrateFault::Read(fault) => fault.into(),
        }
    }
}

/// Let a run go on with another version of its workflow.
///
/// Every step that has begun or ended must be the same in both versions: what its author said of it, what it waits for,
/// and what it counts on. Everything that is not is told with its path. It moves when nothing of it is under way: when
/// it waits, or stands still; its document tells when it has, under `migrations`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/migrate", tag = "runs", operation_id = "migrateRun",
    params(
        ("id" = String, Path, description = "The run."),
        ("Heddle-User" = Option<String>, Header, description = "Who wants it so, as a proxy that knows its users says."),
    ),
    request_body(content = MigrateRequest, content_type = "application/json"),
    responses((status = 202, description = "It is recorded.", body = Accepted), Problems),
)]
async fn migrate(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = caller(&parts.headers)?;
    let said = small(&parts.headers, content, &api.app.limits).await?;
    let mut members = Members::of(&said);
    let version = members.text("version").map(str::parse::<semver::Version>);
    let version = match version {
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => {
            members.fault("version", "wants a semantic version such as `1.1.0`");
            None
        }
        None => {
            members.fault("version", "`version` is missing: a version of the run's workflow");
            None
        }
    };
    members.finish()?;
    let (run, Some(version)) = (run_id(&id)?, version) else { return Err(no_run(&id)) };
    let status = api.app.executor.migrate(&Tenant::default(), run, &version, by.name()).await?;
    Ok(accepted(run, status.word()))
}
