//! `GET /v1/runs/{a}/diff/{b}`: what is different between two runs, step by step.

use super::Api;
use super::body::Query;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::detail;
use super::wire::run::WorkflowName;
use axum::Json as Answer;
use axum::extract::{Path, RawQuery, State};
use heddle_core::run::view::{StepView, ValueView};
use heddle_executor::RunDetail;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(diff))
}

/// What is different between two runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RunDiff)]
struct DiffDoc {
    /// The first run.
    a: SideDoc,
    /// The second run.
    b: SideDoc,
    /// What differs of the runs as a whole: `workflow`, `input`, `status`, `error`, `output`.
    differs: Vec<&'static str>,
    /// The steps that differ, in the order of the first run; then those that only the second has.
    steps: Vec<StepDiffDoc>,
    /// How many steps are the same.
    same: u32,
}

/// A run of the two.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RunDiffSide)]
struct SideDoc {
    /// The run.
    #[schema(format = "uuid")]
    run: String,
    /// Its workflow, frozen.
    workflow: WorkflowName,
    /// Its status.
    status: String,
}

/// A step that differs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StepDiff)]
struct StepDiffDoc {
    /// The step.
    step: String,
    /// What differs: `status`, `plugin`, `output`, `items`, `error`; empty where only one run has the step.
    differs: Vec<&'static str>,
    /// In the first run; absent where it has no such step.
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<StepSideDoc>,
    /// In the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<StepSideDoc>,
}

/// A step as one of the runs has it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StepDiffSide)]
struct StepSideDoc {
    /// Its status.
    status: String,
    /// Digest of the plugin that its call was resolved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    /// SHA-256 of its output, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// How many of its items have ended well, of how many, where it is a `forEach`.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<[u32; 2]>,
    /// The kind of its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl StepSideDoc {
    fn of(step: &StepView, detail: &RunDetail) -> StepSideDoc {
        StepSideDoc {
            status: step.status.to_owned(),
            plugin: step
                .call
                .and_then(|call| detail.plugin(call, step.turn))
                .map(|pin| pin.digest.to_string()),
            output: step.work.output.as_ref().map(digest),
            items: step.items.map(|items| [items.succeeded, items.total]),
            error: step.work.error.as_ref().map(|failure| failure.kind.word().to_owned()),
        }
    }
    fn differs(&self, other: &StepSideDoc) -> Vec<&'static str> {
        named([
            ("status", self.status != other.status),
            ("plugin", self.plugin != other.plugin),
            ("output", self.output != other.output),
            ("items", self.items != other.items),
            ("error", self.error != other.error),
        ])
    }
}

fn named<const N: usize>(parts: [(&'static str, bool); N]) -> Vec<&'static str> {
    parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

fn digest(value: &ValueView) -> String {
    match value {
        ValueView::Inline(json) => json.digest().to_string(),
        ValueView::Stored(digest, _) => digest.to_string(),
    }
}

/// Compare two runs.
///
/// Outputs are compared by their digests; `cache` in the documents of the runs tells what one has taken over from the
/// other.
#[utoipa::path(
    get, path = "/v1/runs/{id}/diff/{other}", tag = "runs", operation_id = "diffRuns",
    params(
        ("id" = String, Path, description = "The first run."),
        ("other" = String, Path, description = "The second run."),
    ),
    responses((status = 200, description = "What is different.", body = DiffDoc), Problems),
)]
async fn diff(
    State(api): State<Api>,
    Path((id, other)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Answer<DiffDoc>, Problem> {
    Query::of(query.as_deref()).finish()?;
    let (a, b) = (detail(&api, &id).await?, detail(&api, &other).await?);
    Ok(Answer(compare(&a, &b)))
}

fn compare(a: &RunDetail, b: &RunDetail) -> DiffDoc {
    let mut others: BTreeMap<&str, &StepView> = b.view.steps.iter().map(|step| (&*step.id, step)).collect();
    let (mut steps, mut same) = (Vec::new(), 0);
    for step in &a.view.steps {
        let own = StepSideDoc::of(step, a);
        let other = others.remove(&*step.id).map(|other| StepSideDoc::of(other, b));
        if other.as_ref() == Some(&own) {
            same += 1;
            continue;
        }
        let differs = other.as_ref().map(|other| own.differs(other)).unwrap_or_default();
        steps.push(StepDiffDoc { step: step.id.to_string(), differs, a: Some(own), b: other });
    }
    for step in b.view.steps.iter().filter(|step| others.contains_key(&*step.id)) {
        let own = Some(StepSideDoc::of(step, b));
        steps.push(StepDiffDoc { step: step.id.to_string(), differs: Vec::new(), a: None, b: own });
    }
    let kind = |detail: &RunDetail| detail.view.error.as_ref().map(|error| error.failure.kind);
    let output = |detail: &RunDetail| detail.view.output.as_ref().map(digest);
    let differs = named([
        ("workflow", a.view.workflow_digest != b.view.workflow_digest),
        ("input", digest(&a.view.input) != digest(&b.view.input)),
        ("status", a.view.status != b.view.status),
        ("error", kind(a) != kind(b)),
        ("output", output(a) != output(b)),
    ]);
    DiffDoc { a: side(a), b: side(b), differs, steps, same }
}

fn side(detail: &RunDetail) -> SideDoc {
    let view = &detail.view;
    SideDoc {
        run: view.id.to_string(),
        workflow: WorkflowName {
            name: view.workflow.clone(),
            version: view.workflow_version.clone(),
            digest: view.workflow_digest.to_string(),
        },
        status: view.status.to_owned(),
    }
}
