//! Loading and reading plugins. What can be known without running a component is known when it is uploaded; compiling
//! it and asking it what it is goes on behind the answer.

use super::Api;
use super::body::{Bound, Query, media_type, read, refuse, small, want_type};
use super::codes::Code;
use super::openapi::Problems;
use super::problem::{Place, Problem};
use super::submit::locate;
use super::wire::catalog::{
    ComponentDoc, ComponentFailure, LabelsDoc, PluginDoc, PluginPage, PullDoc, SourceDoc, plugin,
};
use crate::app::loader::{Progress, Replacing, Standing, Upload};
use crate::signature;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use heddle_core::document::pointer;
use heddle_core::health::State as Health;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::oci::{OciFault, Reference};
use heddle_core::outcome::PluginKind;
use heddle_core::route::CapabilityRef;
use heddle_core::value::Value;
use heddle_executor::{PluginEntry, PulledFrom};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, push))
        .routes(routes!(get))
        .routes(routes!(label))
        .routes(routes!(component))
        .routes(routes!(content))
}

/// Load a component.
///
/// Its bytes are checked at once (422 with the reasons); then it is compiled and asked what it is. `Location` tells
/// where to see whether it has become `ready` or has `failed`. The same bytes again change nothing.
///
/// Instead of its bytes a component may be named as it is in an OCI registry: the node pulls it, with its signatures, while
/// the sender waits.
#[utoipa::path(
    post, path = "/v1/plugins", tag = "plugins", operation_id = "pushPlugin",
    params(("Heddle-Signature" = Option<String>, Header, description = "Its detached signature: a `.minisig` file in base64.")),
    request_body(description = "The component.", content((Vec<u8> = "application/wasm"), (Vec<u8> = "application/octet-stream"), (PullDoc = "application/json"))),
    responses(
        (status = 202, description = "The component is being compiled, or was loaded before.", body = ComponentDoc,
            headers(("Location" = String, description = "Path of the component."))),
        Problems,
    ),
)]
async fn push(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    want_type(&parts.headers, &["application/wasm", "application/octet-stream", "application/json"])?;
    if media_type(&parts.headers).as_deref() == Some("application/json") {
        return pull(&api, &small(&parts.headers, content, &api.app.limits).await?).await;
    }
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
    let signatures = signature_of(&parts.headers)?.into_iter().collect();
    let upload = Upload { bytes, signatures, source: None, replacing: Replacing::Never, brings_back: true };
    accept(&api, upload).await
}

async fn accept(api: &Api, upload: Upload) -> Result<Response, Problem> {
    let source = match &upload.source {
        Some(source) => Some(seen(api, source).await?),
        None => None,
    };
    let standing = api.app.loader.accept(Tenant::default(), upload).await?;
    let answer = ComponentDoc { source, ..described(&standing) };
    let mut response = (StatusCode::ACCEPTED, Answer(answer)).into_response();
    locate(&mut response, &format!("/v1/components/{}", standing.inspection.digest));
    Ok(response)
}

/// Fetches what is named, then goes on as if it had been sent.
async fn pull(api: &Api, body: &Json) -> Result<Response, Problem> {
    let fault = |pointer: &str, message: String| {
        let place = Place { pointer: pointer.to_owned(), message: message.clone(), ..Place::default() };
        Problem::new(Code::BodyInvalid, message).at([place])
    };
    let wanted = || "wants an object such as `{\"from\": \"registry.example/acme/echo:1.2.0\"}`".to_owned();
    let Value::Map(members) = body.value() else { return Err(fault("", wanted())) };
    if let Some((name, _)) = members.iter().find(|(name, _)| &***name != "from") {
        return Err(fault(&pointer("", name), format!("there is no member `{name}` here; {}", wanted())));
    }
    let from = members.iter().find_map(|(_, value)| value.as_str());
    let from = from.ok_or_else(|| fault("/from", wanted()))?;
    let reference: Reference = from.parse().map_err(|bad: OciFault| fault("/from", bad.to_string()))?;
    let pulled = api.app.puller.pull(&reference).await?;
    let source = PulledFrom { reference: reference.to_string(), manifest: pulled.manifest };
    let upload = Upload {
        bytes: pulled.component.into(),
        signatures: pulled.signatures,
        source: Some(source),
        replacing: Replacing::Never,
        brings_back: true,
    };
    accept(api, upload).await
}

/// Where it is from, and whether that name meant something else when it was pulled last.
async fn seen(api: &Api, source: &PulledFrom) -> Result<SourceDoc, Problem> {
    let (reference, manifest) = (&source.reference, source.manifest);
    let was = api.app.executor.pulled(&Tenant::default(), reference, manifest).await?;
    if let Some(was) = &was {
        tracing::warn!(reference, %manifest, %was, "what is named in the registry has changed; runs keep what they have");
    }
    Ok(SourceDoc { was: was.map(|was| was.to_string()), ..source.into() })
}

/// The signature that came with a request.
pub(super) fn signature_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(signature::HEADER) else { return Ok(None) };
    Ok(Some(signature::of_header(value.to_str().unwrap_or_default())?))
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
        source: None,
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
    let parsed: Digest = digest.parse().map_err(|_| no_component(&digest))?;
    let standing = api.app.loader.standing(&Tenant::default(), parsed).await?;
    Ok(Answer(described(&standing.ok_or_else(|| no_component(&digest))?)))
}

fn no_component(digest: &str) -> Problem {
    let digest: String = digest.chars().take(80).collect();
    let detail = format!("no component `{digest}` was uploaded; `heddle plugin push FILE` does");
    Problem::new(Code::ComponentNotFound, detail)
}

/// Read the bytes of a loaded component.
#[utoipa::path(
    get, path = "/v1/components/{digest}/content", tag = "plugins", operation_id = "getComponentContent",
    params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "Its bytes.", content((Vec<u8> = "application/wasm")),
            headers(("Heddle-Signature" = String, description = "Its signature, where it came with one: a `.minisig` file in base64."))),
        Problems,
    ),
)]
async fn content(
    State(api): State<Api>,
    Path(digest): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    let none = || no_component(&digest);
    let parsed: Digest = digest.parse().map_err(|_| none())?;
    let (bytes, signature) = api.app.loader.bytes(&Tenant::default(), parsed).await?.ok_or_else(none)?;
    let mut response = ([(CONTENT_TYPE, "application/wasm")], bytes).into_response();
    if let Some(text) = signature.and_then(|text| signature::to_header(&text).parse().ok()) {
        response.headers_mut().insert(signature::HEADER, text);
    }
    Ok(response)
}

/// List the plugins that are loaded.
///
/// With `capability`: the live version of each that provides it, in the order in which a run would try them, each with
/// the reason.
#[utoipa::path(
    get, path = "/v1/plugins", tag = "plugins", operation_id = "listPlugins",
    params(
        ("capability" = Option<String>, Query, description = "What they must provide, such as `ocr.text`."),
        ("kind" = Option<String>, Query, description = "`tool`, `transform` or `agent`; with `capability`, `tool` where nothing is said."),
        ("tag" = Option<String>, Query, description = "Only those that provide this, or have a label of this name."),
        ("region" = Option<String>, Query, description = "Only those with this label `region`."),
        ("health" = Option<String>, Query, description = "Only those that are `healthy`, `degraded`, `unhealthy` or `unknown`."),
    ),
    responses((status = 200, description = "Every version of every plugin.", body = PluginPage), Problems),
)]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Answer<PluginPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let capability = query.get("capability");
    let kind = query.read("kind", "`tool`, `transform` or `agent`", PluginKind::from_word);
    let (tag, region) = (query.get("tag"), query.get("region"));
    let health = query.read("health", "`healthy`, `degraded`, `unhealthy` or `unknown`", Health::from_word);
    query.finish()?;
    let (executor, tenant) = (&api.app.executor, Tenant::default());
    let by_capability = capability.is_some();
    let mut found = match capability {
        None => executor.plugins(&tenant),
        Some(name) => {
            let (name, kind) = (name.into(), kind.unwrap_or(PluginKind::Tool));
            let wanted = CapabilityRef { kind, name, prefer: Vec::new(), requires: BTreeMap::new() };
            executor.providers(&tenant, &wanted)
        }
    };
    found.retain(|entry| {
        kind.is_none_or(|kind| entry.metadata.kind == kind)
            && tag
                .as_ref()
                .is_none_or(|tag| entry.metadata.provides.contains(tag) || entry.labels.contains_key(tag))
            && region.as_ref().is_none_or(|region| entry.labels.get("region") == Some(region))
    });
    let mut items = shown(&api, &found);
    items.retain(|item| health.is_none_or(|health| item.health.state == health.word()));
    for (place, item) in items.iter_mut().enumerate().filter(|_| by_capability) {
        item.reason = Some(reason(place, item));
    }
    Ok(Answer(PluginPage { items }))
}

/// Why a provider stands where it stands.
fn reason(place: usize, item: &PluginDoc) -> String {
    let how = match item.health.state {
        "degraded" | "unhealthy" => "after all that do well",
        _ => "among those that do well",
    };
    let labels: Vec<String> = item.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let labels = if labels.is_empty() { "no label".to_owned() } else { labels.join(" ") };
    format!(
        "place {}: {} ({}), so it stands {how}; `prefer` of a step chooses by {labels}, then the name does",
        place + 1,
        item.health.state,
        item.health.why
    )
}

/// Say something of a plugin: set labels, and take away those that are `null`.
///
/// Labels are of the plugin, not of a version. Steps that call by capability choose by them: `region`, `cost`, or
/// whatever the workflows of this node ask for. Runs that were accepted before keep their choice.
#[utoipa::path(
    patch, path = "/v1/plugins/{name}/labels", tag = "plugins", operation_id = "labelPlugin",
    params(("name" = String, Path, description = "`name` or `kind:name`.")),
    request_body(description = "Labels: text, or `null` for one that is to go.", content((BTreeMap<String, Option<String>> = "application/json"))),
    responses((status = 200, description = "All its labels.", body = LabelsDoc), Problems),
)]
async fn label(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Answer<LabelsDoc>, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let body = small(&parts.headers, content, &api.app.limits).await?;
    let (kind, named) = key_of(&api, &name)?;
    let changes = changes(&body)?;
    let labelled = api.app.executor.label_plugin(&Tenant::default(), (kind, &named), &changes).await;
    Ok(Answer(LabelsDoc { plugin: format!("{}:{named}", kind.word()), labels: labelled? }))
}

/// What is to become of each label.
fn changes(body: &Json) -> Result<BTreeMap<String, Option<String>>, Problem> {
    let Value::Map(members) = body.value() else {
        return Err(Problem::new(Code::BodyInvalid, "wants an object such as `{\"region\": \"eu\"}`"));
    };
    let mut changes = BTreeMap::new();
    let mut faults = Vec::new();
    for (label, value) in members.iter() {
        match value {
            Value::Null => drop(changes.insert(label.to_string(), None)),
            Value::String(text) => drop(changes.insert(label.to_string(), Some(text.to_string()))),
            _ => faults.push(Place {
                pointer: pointer("", label),
                message: "wants text, or `null` to take it away".to_owned(),
                ..Place::default()
            }),
        }
    }
    refuse(Code::BodyInvalid, "the labels have", faults)?;
    Ok(changes)
}

/// These versions, with what is granted to them, what was decided of them, and how they do.
fn shown(api: &Api, entries: &[PluginEntry]) -> Vec<PluginDoc> {
    let (executor, tenant) = (&api.app.executor, Tenant::default());
    let doing = executor.doing(&tenant, entries);
    let with_doing = entries.iter().zip(doing);
    let shown =
        with_doing.map(|(entry, doing)| plugin(entry, &executor.grants(&entry.metadata.reference()), doing));
    shown.collect()
}

/// The plugin that a path names: `kind:name`, or the name where one kind has it.
pub(super) fn key_of(api: &Api, name: &str) -> Result<(PluginKind, String), Problem> {
    if let Some((kind, bare)) = name.split_once(':') {
        let all = api.app.executor.plugins(&Tenant::default());
        let is_there = all.iter().any(|entry| entry.metadata.reference() == name);
        let kind = PluginKind::from_word(kind).filter(|_| is_there);
        return kind.map(|kind| (kind, bare.to_owned())).ok_or_else(|| no_plugin(name));
    }
    let all = api.app.executor.plugins(&Tenant::default());
    let kinds: BTreeSet<PluginKind> =
        all.iter().filter(|entry| entry.metadata.name == name).map(|entry| entry.metadata.kind).collect();
    match (kinds.len(), kinds.first()) {
        (1, Some(kind)) => Ok((*kind, name.to_owned())),
        (0, _) => Err(no_plugin(name)),
        _ => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{}:{name}`", kind.word())).collect();
            let detail = format!("`{name}` is the name of several: {}", kinds.join(", "));
            Err(Problem::new(Code::ParameterInvalid, detail))
        }
    }
}

pub(super) fn no_plugin(name: &str) -> Problem {
    let name: String = name.chars().take(80).collect();
    let detail = format!("no plugin `{name}` is loaded; `GET /v1/plugins` lists them");
    Problem::new(Code::PluginNotFound, detail)
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
    let mut all = api.app.executor.plugins(&Tenant::default());
    all.retain(|entry| entry.metadata.name == name || entry.metadata.reference() == name);
    match all.is_empty() {
        true => Err(no_plugin(&name)),
        false => Ok(Answer(PluginPage { items: shown(&api, &all) })),
    }
}
