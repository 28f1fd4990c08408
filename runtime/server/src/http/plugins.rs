//! Loading and reading plugins. What can be known without running a component is known when it is uploaded; compiling
//! it and asking it what it is goes on behind the answer.

use super::Api;
use super::body::{Bound, Query, read, want_type};
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::submit::locate;
use super::wire::catalog::{ComponentDoc, ComponentFailure, PluginDoc, PluginPage, plugin};
use crate::app::loader::{Progress, Standing};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::{Digest, Tenant};
use heddle_executor::PluginEntry;
use hyper::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, push)).routes(routes!(get)).routes(routes!(component))
}

/// Load a component.
///
/// Its bytes are checked at once (422 with the reasons); then it is compiled and asked what it is. `Location` tells
/// where to see whether it has become `ready` or has `failed`. The same bytes again change nothing.
#[utoipa::path(
    post, path = "/v1/plugins", tag = "plugins", operation_id = "pushPlugin",
    request_body(description = "The component.", content((Vec<u8> = "application/wasm"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 202, description = "The component is being compiled, or was loaded before.", body = ComponentDoc,
            headers(("Location" = String, description = "Path of the component."))),
        Problems,
    ),
)]
async fn push(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    want_type(&parts.headers, &["application/wasm", "application/octet-stream"])?;
    let limits = &api.app.limits;
    // A component is larger than other bodies, so it may take longer by as much.
    let read_ms =
        limits.body_read_ms.saturating_mul((limits.component_bytes / limits.body_bytes).clamp(1, 20));
    let bytes = read(
        &parts.headers,
        content,
        Bound { bytes: limits.component_bytes, limit: "component_bytes", read_ms },
    )
    .await?;
    let standing = api.app.loader.accept(Tenant::default(), bytes).await?;
    let mut response = (StatusCode::ACCEPTED, Answer(described(&standing))).into_response();
    locate(&mut response, &format!("/v1/components/{}", standing.inspection.digest));
    Ok(response)
}

fn described(standing: &Standing) -> ComponentDoc {
    let (status, plugin, failure) = match &standing.progress {
        Progress::Compiling => ("compiling", None, None),
        Progress::Ready { plugin } => ("ready", Some(plugin.clone()), None),
        Progress::Failed { code, reasons } => {
            ("failed", None, Some(ComponentFailure { code: (*code).to_owned(), reasons: reasons.clone() }))
        }
    };
    ComponentDoc {
        digest: standing.inspection.digest.to_string(),
        status,
        kind: standing.inspection.kind.word().to_owned(),
        size_bytes: standing.inspection.size_bytes,
        imports: standing.inspection.imports.clone(),
        plugin,
        failure,
    }
}

/// Read how an uploaded component stands.
#[utoipa::path(
    get, path = "/v1/components/{digest}", tag = "plugins", operation_id = "getComponent",
    params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits.")),
    responses((status = 200, description = "The component.", body = ComponentDoc), Problems),
)]
async fn component(
    State(api): State<Api>,
    Path(digest): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ComponentDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let none = || {
        let digest: String = digest.chars().take(80).collect();
        Problem::new(
            Code::ComponentNotFound,
            format!("no component `{digest}` was uploaded; `heddle plugin push FILE` does"),
        )
    };
    let parsed: Digest = digest.parse().map_err(|_| none())?;
    let standing = api.app.loader.standing(&Tenant::default(), parsed).await?.ok_or_else(none)?;
    Ok(Answer(described(&standing)))
}

fn entry(entry: &PluginEntry) -> PluginDoc {
    plugin(&entry.metadata, entry.digest.to_string(), entry.size, entry.loaded_at.rfc3339())
}

/// List the plugins that are loaded.
#[utoipa::path(
    get, path = "/v1/plugins", tag = "plugins", operation_id = "listPlugins",
    responses((status = 200, description = "Every version of every plugin.", body = PluginPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<PluginPage>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let items = api.app.executor.plugins(&Tenant::default()).iter().map(entry).collect();
    Ok(Answer(PluginPage { items }))
}

/// Read every version of a plugin. The name may say its kind: `tool:echo`.
#[utoipa::path(
    get, path = "/v1/plugins/{name}", tag = "plugins", operation_id = "getPlugin",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    responses((status = 200, description = "Its versions.", body = PluginPage), Problems),
)]
async fn get(
    State(api): State<Api>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<PluginPage>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let all = api.app.executor.plugins(&Tenant::default());
    let named = all.iter().filter(|e| e.metadata.name == name || e.metadata.reference() == name);
    let items: Vec<PluginDoc> = named.map(entry).collect();
    if items.is_empty() {
        let name: String = name.chars().take(80).collect();
        return Err(Problem::new(
            Code::PluginNotFound,
            format!("no plugin `{name}` is loaded; `GET /v1/plugins` lists them"),
        ));
    }
    Ok(Answer(PluginPage { items }))
}
