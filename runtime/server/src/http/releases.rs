//! Which version of a plugin new runs get, and how its versions do.

use super::Api;
use super::body::{Members, Query, small, small_or_none};
use super::codes::Code;
use super::openapi::Problems;
use super::plugins::{key_of, no_plugin};
use super::problem::Problem;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::release::{Change, Decision, HealthGate, Release, Then};
use heddle_core::time::Timestamp;
use heddle_executor::{Clock as _, Metered, ReleaseRefused, ReleaseWish, SystemClock};
use hyper::StatusCode;
use semver::Version;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(promote))
        .routes(routes!(rollback))
        .routes(routes!(follow))
        .routes(routes!(read))
        .routes(routes!(delete))
        .routes(routes!(metrics))
}

impl From<ReleaseRefused> for Problem {
    fn from(fault: ReleaseRefused) -> Problem {
        let detail = fault.to_string();
        match fault {
            ReleaseRefused::NoPlugin(name) => no_plugin(&name),
            ReleaseRefused::Refused(..) => Problem::new(Code::ReleaseRefused, detail),
            ReleaseRefused::InUse(..) => Problem::new(Code::PluginInUse, detail),
            ReleaseRefused::Store(fault) => fault.into(),
        }
    }
}

/// What was decided of the versions of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginRelease)]
pub(super) struct ReleaseDoc {
    /// `kind:name`.
    plugin: String,
    /// The version that runs get; none while the newest one is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    /// The version that some runs get.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<TrialDoc>,
    /// Versions that only those get who name them exactly.
    withdrawn: Vec<WithdrawnDoc>,
    /// What was decided, the latest last; at most 32.
    changes: Vec<ChangeDoc>,
}

/// A version on trial.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginTrial)]
struct TrialDoc {
    /// The version.
    version: String,
    /// Of a hundred runs, how many get it.
    share: u8,
    /// Since when.
    #[schema(format = "date-time")]
    since: String,
    /// What is asked of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<GateDoc>,
}

/// What is asked of a version on trial.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HealthGate)]
struct GateDoc {
    /// After so many calls it is judged; earlier, where it cannot hold any more.
    calls: u32,
    /// Of a hundred calls, how many may fail.
    failures_percent: u8,
    /// What becomes of it when it holds: `hold` or `promote`.
    then: &'static str,
}

/// A version that was taken back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WithdrawnVersion)]
struct WithdrawnDoc {
    /// The version.
    version: String,
    /// Why.
    why: String,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReleaseChange)]
struct ChangeDoc {
    /// When.
    #[schema(format = "date-time")]
    at: String,
    /// `promoted`, `tried`, `rolledBack` or `followed`.
    what: &'static str,
    /// The current version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The version that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// `operator`, or `gate` where nobody asked for it.
    by: &'static str,
    /// Why.
    why: String,
}

fn document(plugin: String, release: &Release) -> ReleaseDoc {
    let text = |version: &Option<Version>| version.as_ref().map(ToString::to_string);
    let gate = |gate: HealthGate| GateDoc {
        calls: gate.calls,
        failures_percent: gate.failures_percent,
        then: match gate.then {
            Then::Hold => "hold",
            Then::Promote => "promote",
        },
    };
    let change = |change: &Change| ChangeDoc {
        at: change.at.rfc3339(),
        what: match change.what {
            Decision::Promoted => "promoted",
            Decision::Tried => "tried",
            Decision::RolledBack => "rolledBack",
            Decision::Followed => "followed",
        },
        from: text(&change.from),
        to: text(&change.to),
        by: if change.by_gate { "gate" } else { "operator" },
        why: change.why.clone(),
    };
    ReleaseDoc {
        plugin,
        current: text(&release.current),
        trial: release.trial.as_ref().map(|trial| TrialDoc {
            version: trial.version.to_string(),
            share: trial.share,
            since: trial.since.rfc3339(),
            gate: trial.gate.map(gate),
        }),
        withdrawn: release
            .withdrawn
            .iter()
            .map(|(version, why)| WithdrawnDoc { version: version.to_string(), why: why.clone() })
            .collect(),
        changes: release.changes.iter().map(change).collect(),
    }
}

/// What to make of a version.
#[derive(Debug, ToSchema)]
#[schema(as = PromoteRequest)]
#[serde(rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct PromoteRequest {
    /// The version, such as `1.2.0`.
    version: String,
    /// Of a hundred runs, how many get it: 1 to 100. All of them, where nothing is said.
    share: Option<u8>,
    /// What is asked of it; nothing, where a person decides.
    gate: Option<GateRequest>,
}

/// What is asked of a version on trial.
#[derive(Debug, ToSchema)]
#[schema(as = HealthGateRequest)]
#[serde(rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct GateRequest {
    /// After so many calls it is judged: 1 to 100000, 20 where nothing is said.
    calls: Option<u32>,
    /// Of a hundred calls, how many may fail: 0 to 99, 5 where nothing is said.
    failures_percent: Option<u8>,
    /// What becomes of it when it holds: `hold` (it keeps its share) or `promote`.
    then: Option<String>,
}

/// Let runs have a version, all of them or a share.
///
/// Until somebody promotes, runs get the newest version that their range allows. With a `gate` the version is on trial:
/// it is taken back by itself when too many of its calls fail. Runs that were accepted keep the version that they have.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/promote", tag = "plugins", operation_id = "promotePlugin",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    request_body(content = PromoteRequest, content_type = "application/json"),
    responses((status = 200, description = "What stands now.", body = ReleaseDoc), Problems),
)]
async fn promote(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Answer<ReleaseDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small(&parts.headers, content, &api.app.limits).await?;
    let mut members = Members::of(&body);
    let version = members.text("version").map(str::parse::<Version>);
    if !matches!(version, Some(Ok(_))) {
        members.fault("version", "wants a semantic version such as `1.2.0`");
    }
    let share = members.whole("share", 1..=100).unwrap_or(100) as u8;
    let gate = members.get("gate").map(|value| Json::from_value(value.clone()));
    members.finish()?;
    let gate = gate.as_ref().map(read_gate).transpose()?;
    let Some(Ok(version)) = version else { return Err(no_plugin(&name)) };
    decided(&api, &name, ReleaseWish::Promote { version, share, gate }).await
}

fn read_gate(said: &Json) -> Result<HealthGate, Problem> {
    let mut members = Members::of(said);
    let calls = members.whole("calls", 1..=100_000).unwrap_or(20) as u32;
    let failures_percent = members.whole("failuresPercent", 0..=99).unwrap_or(5) as u8;
    let then = match members.text("then") {
        None | Some("hold") => Then::Hold,
        Some("promote") => Then::Promote,
        Some(_) => {
            members.fault("then", "is `hold` or `promote`");
            Then::Hold
        }
    };
    members.finish()?;
    Ok(HealthGate { calls, failures_percent, then })
}

/// Why a version is taken back.
#[derive(Debug, ToSchema)]
#[schema(as = RollbackRequest)]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct RollbackRequest {
    /// The version that is meant. Where it has been taken back already, or another one would be, nothing changes.
    version: Option<String>,
    /// One sentence, at most 500 characters.
    why: Option<String>,
}

/// Take back the version on trial, or else the current one.
///
/// Runs get the version that was current before; where nobody had decided, the one below. The version that was taken
/// back is there for those who name it exactly.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/rollback", tag = "plugins", operation_id = "rollbackPlugin",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    request_body(content = Option<RollbackRequest>, content_type = "application/json"),
    responses((status = 200, description = "What stands now.", body = ReleaseDoc), Problems),
)]
async fn rollback(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Answer<ReleaseDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small_or_none(&parts.headers, content, &api.app.limits).await?;
    let (mut version, mut why) = (None, String::new());
    if let Some(body) = &body {
        let mut members = Members::of(body);
        let said = members.text("version").map(str::parse::<Version>);
        if matches!(said, Some(Err(_))) {
            members.fault("version", "wants a semantic version such as `1.2.0`");
        }
        version = said.and_then(Result::ok);
        why = members.text("why").unwrap_or_default().chars().take(500).collect();
        members.finish()?;
    }
    decided(&api, &name, ReleaseWish::RollBack { version, why }).await
}

/// Let runs have the newest version again, whatever is loaded.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/follow", tag = "plugins", operation_id = "followPlugin",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    responses((status = 200, description = "What stands now.", body = ReleaseDoc), Problems),
)]
async fn follow(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Answer<ReleaseDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    if let Some(body) = small_or_none(&parts.headers, content, &api.app.limits).await? {
        Members::of(&body).finish()?;
    }
    decided(&api, &name, ReleaseWish::Follow).await
}

async fn decided(api: &Api, name: &str, wish: ReleaseWish) -> Result<Answer<ReleaseDoc>, Problem> {
    let (kind, named) = key_of(api, name)?;
    let release = api.app.executor.decide_release(&Tenant::default(), (kind, &named), &wish).await?;
    Ok(Answer(document(format!("{}:{named}", kind.word()), &release)))
}

/// Read what was decided of the versions of a plugin.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/release", tag = "plugins", operation_id = "getPluginRelease",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    responses((status = 200, description = "What stands.", body = ReleaseDoc), Problems),
)]
async fn read(
    State(api): State<Api>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ReleaseDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let (kind, named) = key_of(&api, &name)?;
    let release = api.app.executor.release(&Tenant::default(), (kind, &named));
    Ok(Answer(document(format!("{}:{named}", kind.word()), &release)))
}

/// Delete a version that nothing uses.
///
/// It is refused while it is the current version and there are others, or on trial, while a run that has not ended was accepted with it, and
/// while a workflow would find no other. Its bytes keep the version: no others can be loaded under it.
#[utoipa::path(
    delete, path = "/v1/plugins/{name}/versions/{version}", tag = "plugins", operation_id = "deletePluginVersion",
    params(
        ("name" = String, Path, description = "`name` or `kind:name`."),
        ("version" = String, Path, description = "The version."),
    ),
    responses((status = 204, description = "It is gone."), Problems),
)]
async fn delete(
    State(api): State<Api>,
    Path((name, version)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    Query::of(query.as_deref()).finish()?;
    let (kind, named) = key_of(&api, &name)?;
    let none = || {
        let detail = format!(
            "`{}:{named}` has no version `{version}`; `heddle plugin ls {named}` lists them",
            kind.word()
        );
        Problem::new(Code::PluginNotFound, detail)
    };
    let parsed: Version = version.parse().map_err(|_| none())?;
    let deleted = api.app.executor.delete_plugin(&Tenant::default(), (kind, &named), &parsed).await?;
    deleted.map(|()| StatusCode::NO_CONTENT).ok_or_else(none)
}

/// What the calls of a plugin came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginMetrics)]
struct MetricsDoc {
    /// `kind:name`.
    plugin: String,
    /// From when calls are counted here.
    #[schema(format = "date-time")]
    from: String,
    /// Until when.
    #[schema(format = "date-time")]
    to: String,
    /// Each version, the oldest first.
    versions: Vec<VersionMetrics>,
}

/// What the calls of a version came to. Only those count that ran in a sandbox of this node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginVersionMetrics)]
struct VersionMetrics {
    /// The version.
    version: String,
    /// Calls that ended.
    calls: u64,
    /// Those that failed, for whatever reason.
    failed: u64,
    /// The share of them that failed, 0 to 1.
    error_rate: f64,
    /// The share of them whose end does not speak against the plugin, 0 to 1.
    availability: f64,
    /// Calls in a second.
    per_second: f64,
    /// Half of the calls took at most so many milliseconds; exact to a fifth.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    /// 95 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
    /// 99 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// Fuel that they used.
    fuel: u64,
    /// The label `cost` of the plugin for each call, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    /// The first minute of which something is known; a day is kept, and nothing from before the node started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    since: Option<String>,
}

/// Read what the calls of a plugin came to.
#[utoipa::path(
    get, path = "/v1/plugins/{name}/metrics", tag = "plugins", operation_id = "getPluginMetrics",
    params(
        ("name" = String, Path, description = "`name` or `kind:name`."),
        ("from" = Option<String>, Query, description = "RFC 3339, to the minute; an hour ago where nothing is said."),
        ("to" = Option<String>, Query, description = "RFC 3339, to the minute; now where nothing is said."),
    ),
    responses((status = 200, description = "Each version.", body = MetricsDoc), Problems),
)]
async fn metrics(
    State(api): State<Api>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<MetricsDoc>, Problem> {
    const HOUR_MS: u64 = 3_600_000;
    let mut query = Query::of(query.as_deref());
    let mut time = |name: &'static str| {
        query.read(name, "a time such as `2026-01-31T12:00:00Z`", |text| text.parse::<Timestamp>().ok())
    };
    let (from, to) = (time("from"), time("to"));
    query.finish()?;
    let to = to.unwrap_or_else(|| SystemClock.now());
    let from = from.unwrap_or(Timestamp(to.0.saturating_sub(HOUR_MS)));
    if from >= to {
        return Err(Problem::new(Code::ParameterInvalid, "`from` is not before `to`"));
    }
    let (kind, named) = key_of(&api, &name)?;
    let (executor, tenant) = (&api.app.executor, Tenant::default());
    let entries = executor.plugins(&tenant).into_iter();
    let entries = entries.filter(|entry| entry.metadata.kind == kind && entry.metadata.name == named);
    let seconds = to.since_ms(from) as f64 / 1_000.0;
    let versions = entries.map(|entry| {
        let Metered { sum, since } = executor.metered(&tenant, entry.digest, (from, to));
        let ms = |percent| sum.percentile_us(percent).map(|us| us as f64 / 1_000.0);
        let cost = entry.labels.get("cost").and_then(|cost| cost.parse::<f64>().ok());
        VersionMetrics {
            version: entry.metadata.version.to_string(),
            calls: sum.calls,
            failed: sum.failed,
            error_rate: sum.error_rate(),
            availability: sum.availability(),
            per_second: sum.calls as f64 / seconds,
            p50_ms: ms(50),
            p95_ms: ms(95),
            p99_ms: ms(99),
            fuel: sum.fuel,
            cost: cost.map(|cost| cost * sum.calls as f64),
            since: since.map(Timestamp::rfc3339),
        }
    });
    let (plugin, from, to) = (format!("{}:{named}", kind.word()), from.rfc3339(), to.rfc3339());
    Ok(Answer(MetricsDoc { plugin, versions: versions.collect(), from, to }))
}
