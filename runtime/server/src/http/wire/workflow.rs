//! Workflows as clients see them: a version, a list of them, and what is different between two.

use heddle_core::diff::{Change as Changed, Difference};
use heddle_core::json::Json;
use heddle_core::plan::Plan;
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_core::version::VersionStatus;
use heddle_executor::{Change, Origin, WorkflowEntry};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// A workflow version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowDoc {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its canonical source.
    pub digest: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: String,
    /// `draft`, `active`, `inactive` or `archived`; of one that was only checked, what it would be.
    pub status: String,
    /// What it can become.
    pub becomes: Vec<&'static str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who published it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was published; absent where it was only checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub created_at: Option<String>,
    /// When and by whom its status was changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangeDoc>,
    /// JSON Schema of its parameters, where it is a template. Its steps are then those that it would have with the
    /// values that the parameters bring along.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub parameters: Option<Json>,
    /// The template that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<OriginDoc>,
    /// Its steps.
    pub steps: Vec<WorkflowStep>,
    /// JSON Schema of its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input_schema: Option<Json>,
    /// Its canonical source.
    #[schema(value_type = serde_json::Value)]
    pub definition: Json,
}

/// Who changed something, and when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowChange)]
pub(crate) struct ChangeDoc {
    /// When.
    #[schema(format = "date-time")]
    pub at: String,
    /// Who.
    pub by: String,
}

impl From<&Change> for ChangeDoc {
    fn from(change: &Change) -> ChangeDoc {
        ChangeDoc { at: change.at.rfc3339(), by: change.by.to_string() }
    }
}

/// The template that a workflow was made of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowOrigin)]
pub(crate) struct OriginDoc {
    /// `namespace/name` of the template.
    pub template: String,
    /// Its version.
    pub version: String,
    /// Digest of its canonical source.
    pub digest: String,
    /// What was given for its parameters.
    #[schema(value_type = serde_json::Value)]
    pub parameters: Json,
}

impl From<&Origin> for OriginDoc {
    fn from(origin: &Origin) -> OriginDoc {
        OriginDoc {
            template: origin.template.clone(),
            version: origin.version.to_string(),
            digest: origin.digest.to_string(),
            parameters: origin.parameters.clone(),
        }
    }
}

/// A step of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowStep {
    /// Its id.
    pub id: String,
    /// What it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
    /// What it waits for, expressions included.
    pub depends_on: Vec<String>,
    /// Whether it is done for each element of a list.
    pub for_each: bool,
}

fn labels(labels: &[(Arc<str>, Arc<str>)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn becomes(status: VersionStatus) -> Vec<&'static str> {
    status.followers().iter().map(|status| status.word()).collect()
}

/// The document of a workflow that was checked, and would get this status.
pub(crate) fn checked(plan: &Plan, status: VersionStatus) -> WorkflowDoc {
    let id = |step: u32| plan.steps.get(step as usize).map(|s| s.id.to_string()).unwrap_or_default();
    let ordered = plan.order.iter().filter_map(|&index| Some((index, plan.steps.get(index as usize)?)));
    let steps = ordered.map(|(index, step)| WorkflowStep {
        id: step.id.to_string(),
        calls: plan.runs(index),
        depends_on: step.depends.iter().map(|d| id(d.step)).collect(),
        for_each: step.map.is_some(),
    });
    WorkflowDoc {
        namespace: plan.namespace.to_string(),
        name: plan.name.to_string(),
        version: plan.version.to_string(),
        digest: plan.digest.to_string(),
        title: plan.title.to_string(),
        description: plan.description.to_string(),
        status: status.word().to_owned(),
        becomes: becomes(status),
        labels: labels(&plan.labels),
        created_by: None,
        created_at: None,
        changed: None,
        parameters: plan.template.as_ref().map(|schema| schema.text().clone()),
        origin: None,
        steps: steps.collect(),
        input_schema: plan.input_schema.as_ref().map(|s| s.text().clone()),
        definition: plan.source.clone(),
    }
}

/// The document of a published version.
pub(crate) fn published(plan: &Plan, entry: &WorkflowEntry) -> WorkflowDoc {
    WorkflowDoc {
        created_by: entry.by.as_ref().map(ToString::to_string),
        created_at: Some(entry.published_at.rfc3339()),
        changed: entry.changed.as_ref().map(ChangeDoc::from),
        origin: entry.origin.as_ref().map(OriginDoc::from),
        ..checked(plan, entry.status)
    }
}

/// A version in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowSummaryDoc {
    /// `namespace/name`.
    pub name: String,
    /// The version.
    pub version: String,
    /// `draft`, `active`, `inactive` or `archived`.
    pub status: String,
    /// Its title.
    pub title: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Digest of its canonical source.
    pub digest: String,
    /// Who published it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was published.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// Whether it is a template, which does not run by itself.
    pub template: bool,
    /// The template that it was made of: `namespace/name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl From<WorkflowEntry> for WorkflowSummaryDoc {
    fn from(entry: WorkflowEntry) -> WorkflowSummaryDoc {
        WorkflowSummaryDoc {
            name: entry.full_name(),
            version: entry.version.to_string(),
            status: entry.status.word().to_owned(),
            labels: labels(&entry.labels),
            digest: entry.digest.to_string(),
            created_by: entry.by.as_ref().map(ToString::to_string),
            created_at: Timestamp::rfc3339(entry.published_at),
            template: entry.is_template(),
            origin: entry.origin.as_ref().map(|origin| format!("{}@{}", origin.template, origin.version)),
            title: entry.title,
        }
    }
}

/// A page of workflows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkflowPage {
    /// The versions, by name and version.
    pub items: Vec<WorkflowSummaryDoc>,
    /// Give this as `cursor` for the next page; absent on the last. A page with a filter may have few items, or none,
    /// and still not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What is different between two versions of a workflow.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowDiff {
    /// The first version.
    pub a: WorkflowDiffSide,
    /// The second version.
    pub b: WorkflowDiffSide,
    /// What differs outside of steps.
    pub changes: Vec<ChangedDoc>,
    /// The steps that differ.
    pub steps: Vec<ChangedStep>,
    /// How many steps are the same.
    pub same: u32,
}

/// A version of the two.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowDiffSide {
    /// The version.
    pub version: String,
    /// Digest of its canonical source.
    pub digest: String,
    /// Where it stands.
    pub status: String,
}

/// A step that differs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangedStep {
    /// Its id.
    pub step: String,
    /// JSON pointer to it.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// What differs in it; empty where only one version has it.
    pub changes: Vec<ChangedDoc>,
}

/// One place that differs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowPlaceDiff)]
pub(crate) struct ChangedDoc {
    /// JSON pointer to it.
    pub path: String,
    /// What the first version has there; absent where it has nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub a: Option<Json>,
    /// What the second version has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub b: Option<Json>,
}

impl From<Changed> for ChangedDoc {
    fn from(change: Changed) -> ChangedDoc {
        let json = |value: Option<Value>| value.map(Json::from_value);
        ChangedDoc { path: change.path, a: json(change.a), b: json(change.b) }
    }
}

/// What is different between two published versions.
pub(crate) fn diff(a: &WorkflowEntry, b: &WorkflowEntry, found: Difference) -> WorkflowDiff {
    let side = |entry: &WorkflowEntry| WorkflowDiffSide {
        version: entry.version.to_string(),
        digest: entry.digest.to_string(),
        status: entry.status.word().to_owned(),
    };
    let docs = |changes: Vec<Changed>| changes.into_iter().map(ChangedDoc::from).collect();
    let steps = found.steps.into_iter().map(|step| ChangedStep {
        step: step.step,
        path: step.path,
        change: step.fate.word(),
        changes: docs(step.changes),
    });
    WorkflowDiff {
        a: side(a),
        b: side(b),
        steps: steps.collect(),
        changes: docs(found.changes),
        same: found.same,
    }
}
