//! Files that runs have kept. What a plugin made is never shown as a page of this host: it comes as a download.

use super::Api;
use super::body::Query;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::{no_run, run_id, sought};
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::Tenant;
use heddle_core::run::artifact::{Artifact, Kept};
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(of_run)).routes(routes!(get))
}

/// A file that a run has kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Artifact)]
pub(crate) struct ArtifactDoc {
    /// What it is called.
    pub name: String,
    /// What it is, as the plugin says.
    pub media_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes: `GET /v1/artifacts/{digest}` gives them.
    pub digest: String,
    /// The step that kept it.
    pub step: String,
    /// The item, where the step is a `forEach`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Which attempt.
    pub attempt: u32,
    /// When the attempt ended.
    pub kept_at: String,
}

/// Files of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArtifactPage {
    /// In the order in which their attempts ended.
    pub items: Vec<ArtifactDoc>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

fn document((step, kept): (Arc<str>, Kept)) -> ArtifactDoc {
    ArtifactDoc {
        name: kept.artifact.name.to_string(),
        media_type: kept.artifact.media_type.to_string(),
        size_bytes: kept.artifact.size,
        digest: kept.artifact.digest.to_string(),
        step: step.to_string(),
        item: kept.node.item,
        attempt: kept.attempt,
        kept_at: kept.at.rfc3339(),
    }
}

/// List the files that a run has kept.
///
/// A file is there when the attempt that kept it has ended, well or badly. One that is cut off leaves none.
#[utoipa::path(
    get, path = "/v1/runs/{id}/artifacts", tag = "runs", operation_id = "listArtifacts",
    params(
        ("id" = String, Path, description = "The run."),
        ("limit" = Option<u32>, Query, description = "Files of a page; as many as `limits.page_items` allows at most."),
        ("cursor" = Option<String>, Query, description = "Where the page before ended."),
    ),
    responses((status = 200, description = "Files, with their digests.", body = ArtifactPage), Problems),
)]
async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Answer<ArtifactPage>, Problem> {
    let mut query = Query::of(query.as_deref());
    let limit = query.page(api.app.limits.page_items) as usize;
    let from = query.read("cursor", "the cursor of the page before", |text| text.parse::<usize>().ok());
    query.finish()?;
    let from = from.unwrap_or(0);
    let run = run_id(&id)?;
    let all = api.app.executor.artifacts(&Tenant::default(), run).await?.ok_or_else(|| no_run(&id))?;
    let more = from.saturating_add(limit) < all.len();
    let items = all.into_iter().skip(from).take(limit).map(document).collect();
    Ok(Answer(ArtifactPage { items, cursor: more.then(|| (from + limit).to_string()) }))
}

/// Read the bytes of a file that a run has kept.
#[utoipa::path(
    get, path = "/v1/artifacts/{digest}", tag = "runs", operation_id = "getArtifact",
    params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits.")),
    responses(
        (status = 200, description = "Its bytes, under the media type that the plugin gave.",
            content((Vec<u8> = "application/octet-stream"))),
        Problems,
    ),
)]
async fn get(
    State(api): State<Api>,
    Path(digest): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    let (digest, none) = sought(&digest, Code::ArtifactNotFound, "no run has kept a file")?;
    let found = api.app.executor.artifact(&Tenant::default(), digest).await?;
    found.map(|(artifact, bytes)| download(&artifact, &bytes)).ok_or(none)
}

/// Read the bytes of a file of a run, under the name and the type that it has there.
#[utoipa::path(
    get, path = "/v1/runs/{id}/artifacts/{digest}", tag = "runs", operation_id = "getRunArtifact",
    params(
        ("id" = String, Path, description = "The run."),
        ("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits."),
    ),
    responses(
        (status = 200, description = "Its bytes, under the media type that the plugin gave.",
            content((Vec<u8> = "application/octet-stream"))),
        Problems,
    ),
)]
async fn of_run(
    State(api): State<Api>,
    Path((id, digest)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    let run = run_id(&id)?;
    let (digest, none) = sought(&digest, Code::ArtifactNotFound, "the run has kept no file")?;
    let found = api.app.executor.artifact_of(&Tenant::default(), run, digest).await?;
    found.map(|(artifact, bytes)| download(&artifact, &bytes)).ok_or(none)
}

/// A file, as something that is saved.
fn download(artifact: &Artifact, bytes: &[u8]) -> Response {
    let headers = [
        (CONTENT_TYPE, artifact.media_type.to_string()),
        // Whoever made it must not act as this host in somebody's browser.
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", artifact.name)),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (ETAG, format!("\"{}\"", artifact.digest)),
        (CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ];
    (headers, bytes.to_vec()).into_response()
}
