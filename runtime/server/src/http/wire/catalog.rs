//! Lists and plugins as clients see them.

use heddle_core::grant::Grants;
use heddle_core::health::Turn;
use heddle_core::json::Json;
use heddle_core::limits::AskedLimits;
use heddle_executor::{Doing, PluginEntry, PulledFrom};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunSummary {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
    /// `namespace/name` of its workflow; empty where the run is unreadable.
    pub workflow: String,
    /// Version of its workflow; empty where the run is unreadable.
    pub version: String,
    /// Where it stands; `unreadable` where what is stored of it is damaged.
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who asked for it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was accepted.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub finished_at: Option<String>,
    /// What is wrong and what to do, where the run is unreadable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunPage {
    /// The runs.
    pub items: Vec<RunSummary>,
    /// Give this as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of a `forEach`'s items.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemPage {
    /// The items, in the order of the list.
    pub items: Vec<super::run::ItemDoc>,
    /// Give this as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A row of a run's journal: what was decided, in one commit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JournalEntry {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// When it was decided.
    #[schema(format = "date-time")]
    pub at: String,
    /// The facts, as they are stored.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub events: Vec<Json>,
}

/// A page of a journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JournalPage {
    /// The rows.
    pub items: Vec<JournalEntry>,
    /// Give this as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A run that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
    /// Where it stands.
    pub status: String,
    /// `false` where the run was as it is wanted already, and nothing was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

/// Why a run stands where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Why {
    /// The run's status.
    pub status: String,
    /// One sentence.
    pub why: String,
    /// What holds each step that has not ended.
    pub steps: Vec<WhyStep>,
}

/// What holds a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhyStep {
    /// The step.
    pub step: String,
    /// Its status.
    pub status: String,
    /// One sentence.
    pub why: String,
    /// What to do by hand, where the step was not undone: what its `compensate` says as `hint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub hint: Option<Json>,
}

/// A plugin version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginDoc {
    /// `transform`, `tool` or `agent`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its component.
    pub digest: String,
    /// Bytes of its component.
    pub size_bytes: u64,
    /// When it was loaded.
    #[schema(format = "date-time")]
    pub loaded_at: String,
    /// A few words.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// Capability names that it provides.
    pub provides: Vec<String>,
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// What it imports that an operator must grant: `http`, `secret`, `config`, `kv`.
    pub needs: Vec<String>,
    /// What is granted to it, a line each.
    pub grants: Vec<String>,
    /// The id of the key that signed it, where the node looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The registry that it was pulled from, when it first came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceDoc>,
    /// How it stands among the versions of its plugin: `current` (runs get it that name none), `trial`, `withdrawn` or
    /// `other`.
    pub standing: &'static str,
    /// How it does.
    pub health: HealthDoc,
    /// In a list by capability: why it stands where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// JSON Schema of its input.
    #[schema(value_type = serde_json::Value)]
    pub input_schema: Json,
    /// JSON Schema of its output.
    #[schema(value_type = serde_json::Value)]
    pub output_schema: Json,
    /// Limits that it asks for.
    pub limits: AskedLimitsDoc,
    /// Markdown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub documentation: String,
}

/// How a version does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginHealth)]
pub(crate) struct HealthDoc {
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub state: &'static str,
    /// Why that is said.
    pub why: String,
    /// What to do.
    pub advice: String,
    /// Its changes since the node started, the latest last; at most 32.
    pub history: Vec<TurnDoc>,
}

/// A change of health.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthChange)]
pub(crate) struct TurnDoc {
    /// When it was noticed.
    #[schema(format = "date-time")]
    pub at: String,
    /// How it was since.
    pub state: &'static str,
    /// Why.
    pub why: String,
}

impl From<Doing> for HealthDoc {
    fn from(doing: Doing) -> HealthDoc {
        let turn = |turn: Turn| TurnDoc { at: turn.at.rfc3339(), state: turn.state.word(), why: turn.why };
        HealthDoc {
            state: doing.health.state.word(),
            why: doing.health.why,
            advice: doing.advice,
            history: doing.turns.into_iter().map(turn).collect(),
        }
    }
}

/// Limits that a plugin asks for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AskedLimits)]
pub(crate) struct AskedLimitsDoc {
    /// Fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes of linear memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Milliseconds of wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
}

impl From<AskedLimits> for AskedLimitsDoc {
    fn from(limits: AskedLimits) -> AskedLimitsDoc {
        AskedLimitsDoc { fuel: limits.fuel, memory_bytes: limits.memory_bytes, wall_ms: limits.wall_ms }
    }
}

/// A component that the node is to pull.
#[derive(Debug, ToSchema)]
#[schema(as = Pull)]
#[expect(dead_code, reason = "it is read member by member, so that every fault has its place")]
pub(crate) struct PullDoc {
    /// `registry.example/acme/echo:1.2.0`, or with `@sha256:...` instead of the tag. The registry is one of the node's
    /// configuration.
    pub from: String,
}

/// Where a component was pulled from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PulledFrom)]
pub(crate) struct SourceDoc {
    /// As it was asked for: `registry.example/acme/echo:1.2.0`.
    pub reference: String,
    /// The manifest that this named.
    pub manifest: String,
    /// What it named when it was pulled before, where that was another one: the tag has moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

impl From<&PulledFrom> for SourceDoc {
    fn from(source: &PulledFrom) -> SourceDoc {
        let (reference, manifest) = (source.reference.clone(), source.manifest.to_string());
        SourceDoc { reference, manifest, was: None }
    }
}

/// The document of a plugin version.
pub(crate) fn plugin(entry: &PluginEntry, grants: &Grants, doing: Doing) -> PluginDoc {
    let metadata = &entry.metadata;
    PluginDoc {
        kind: metadata.kind.word().to_owned(),
        name: metadata.name.clone(),
        version: metadata.version.to_string(),
        digest: entry.digest.to_string(),
        size_bytes: entry.size,
        loaded_at: entry.loaded_at.rfc3339(),
        title: metadata.title.clone(),
        description: metadata.description.clone(),
        provides: metadata.provides.clone(),
        labels: (*entry.labels).clone(),
        needs: entry.needs.iter().map(ToString::to_string).collect(),
        grants: grants.lines(),
        signed_by: entry.signer.as_ref().map(ToString::to_string),
        source: entry.source.as_deref().map(Into::into),
        standing: doing.standing.word(),
        health: doing.into(),
        reason: None,
        input_schema: metadata.input_schema.clone(),
        output_schema: metadata.output_schema.clone(),
        limits: metadata.limits.into(),
        documentation: metadata.documentation.clone(),
    }
}

/// What its operator says of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginLabels)]
pub(crate) struct LabelsDoc {
    /// `kind:name`.
    pub plugin: String,
    /// All of them.
    pub labels: BTreeMap<String, String>,
}

/// Plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginPage {
    /// The versions, by kind, name and version.
    pub items: Vec<PluginDoc>,
}

/// An uploaded component.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComponentDoc {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// `compiling`, `ready` or `failed`.
    pub status: &'static str,
    /// Its kind, by the interface that it exports.
    pub kind: String,
    /// Bytes.
    pub size_bytes: u64,
    /// What it imports.
    pub imports: Vec<String>,
    /// `kind:name@version`, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ComponentFailure>,
    /// Where it was pulled from, in the answer to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceDoc>,
}

/// Why a component is not ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ComponentFailure {
    /// `component_invalid`, `compile_limit`, `version_conflict` or how its `describe` failed.
    pub code: String,
    /// One sentence each.
    pub reasons: Vec<String>,
}
