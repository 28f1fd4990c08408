//! What a client may call: published workflows and plugins, as the operator offers them (`mcp.tools`), and two tools of
//! the node's own for whoever is not given tasks.

use crate::http::Api;
use crate::http::problem::Problem;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::plan::Plan;
use heddle_core::version::VersionStatus;
use heddle_executor::{PluginEntry, WorkflowEntry, WorkflowFilter};
use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Looks at a run, and waits for it.
pub(super) const RUN: &str = "heddle_run";
/// Cancels a run.
pub(super) const CANCEL: &str = "heddle_cancel";
/// The member that an input stands in which is no object.
pub(super) const WRAPPED: &str = "input";
/// Bytes of a name: clients of language models take no longer ones.
const NAME_BYTES: usize = 64;

/// What a tool calls.
#[derive(Clone, Debug)]
pub(super) enum Callee {
    /// A published workflow.
    Workflow(String),
    /// A plugin, as a workflow of one step.
    Plugin(Arc<PluginEntry>),
}

/// A tool.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) tool: Tool,
    pub(super) callee: Callee,
    /// Whether its input is no object, so that it stands in a member of one.
    pub(super) wrapped: bool,
}

/// Everything that is offered, in an order that does not change by itself.
pub(super) async fn offered(api: &Api) -> Result<Vec<Offered>, Problem> {
    let most = api.app.limits.mcp_tools as usize;
    let mut taken: BTreeSet<String> = [RUN, CANCEL].map(str::to_owned).into();
    let mut all: Vec<Offered> = Vec::new();
    for entry in workflows(api, most).await? {
        let name = unique(&entry.full_name(), &mut taken);
        all.extend(workflow_tool(&entry, name));
    }
    for entry in plugins(api) {
        let name = unique(&entry.metadata.reference(), &mut taken);
        all.push(plugin_tool(entry, name));
    }
    if all.len() > most {
        tracing::warn!(
            offered = all.len(),
            most,
            "`mcp.tools` offers more tools than `limits.mcp_tools`; the last ones are not shown"
        );
        all.truncate(most);
    }
    Ok(all)
}

/// The version of each offered workflow that its name means.
async fn workflows(api: &Api, most: usize) -> Result<Vec<WorkflowEntry>, Problem> {
    let filter = WorkflowFilter { status: vec![VersionStatus::Active], ..WorkflowFilter::default() };
    let page = api.app.limits.page_items as u32;
    let mut newest: BTreeMap<String, WorkflowEntry> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let (entries, cursor) =
            api.app.executor.workflows(&Tenant::default(), &filter, (&after, page)).await?;
        for entry in entries {
            let name = entry.full_name();
            if entry.is_template() || !api.app.mcp.offers(&name) {
                continue;
            }
            let rank = |entry: &WorkflowEntry| (entry.version.pre.is_empty(), entry.version.clone());
            if newest.get(&name).is_none_or(|known| rank(known) < rank(&entry)) {
                newest.insert(name, entry);
            }
        }
        match cursor {
            Some(cursor) if newest.len() <= most => after = cursor,
            _ => return Ok(newest.into_values().collect()),
        }
    }
}

/// The newest version of each offered plugin.
fn plugins(api: &Api) -> Vec<PluginEntry> {
    if !api.app.mcp.offers_plugins() {
        return Vec::new();
    }
    let mut newest: BTreeMap<String, PluginEntry> = BTreeMap::new();
    for entry in api.app.executor.plugins(&Tenant::default()) {
        let name = entry.metadata.reference();
        let known = newest.get(&name).map(|known| &known.metadata.version);
        if entry.removed.is_none()
            && api.app.mcp.offers(&name)
            && known.is_none_or(|known| *known < entry.metadata.version)
        {
            newest.insert(name, entry);
        }
    }
    newest.into_values().collect()
}

/// A name of letters, digits, `_` and `-` that nothing else has. What would be another's, or too long, ends with some of
/// its digest, so that it stays what it is whatever comes beside it.
fn unique(full: &str, taken: &mut BTreeSet<String>) -> String {
    let plain: String =
        full.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let name = match plain.len() > NAME_BYTES || taken.contains(&plain) {
        false => plain,
        true => {
            let digest = Digest::of(full.as_bytes()).hex();
            format!("{}-{}", &plain[..plain.len().min(NAME_BYTES - 9)], &digest[..8])
        }
    };
    taken.insert(name.clone());
    name
}

/// A schema as tools have it: of an object. Another one stands in a member.
fn object_schema(schema: Option<&Json>) -> (JsonObject, bool) {
    let open = || JsonObject::from_iter([("type".to_owned(), json!("object"))]);
    let Some(schema) = schema.and_then(|schema| serde_json::from_str::<Value>(schema.text()).ok()) else {
        return (open(), false);
    };
    match schema {
        Value::Object(schema) if schema.get("type") == Some(&json!("object")) => (schema, false),
        // It says nothing of the type: any object will do, among other things.
        Value::Object(mut schema) if !schema.contains_key("type") && schema.contains_key("properties") => {
            schema.insert("type".to_owned(), json!("object"));
            (schema, false)
        }
        Value::Object(schema) if schema.is_empty() => (open(), false),
        Value::Bool(true) => (open(), false),
        other => {
            let whole = json!({ "type": "object", "properties": { WRAPPED: other }, "required": [WRAPPED] });
            (whole.as_object().cloned().unwrap_or_default(), true)
        }
    }
}

fn meta(key: &str, value: String) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert(key.to_owned(), json!(value));
    meta
}

fn workflow_tool(entry: &WorkflowEntry, name: String) -> Option<Offered> {
    let plan = match Plan::reread(&entry.source) {
        Ok(plan) => plan,
        Err(_) => {
            tracing::error!(workflow = entry.full_name(), "a published workflow cannot be read");
            return None;
        }
    };
    let (schema, wrapped) = object_schema(plan.input_schema.as_ref().map(heddle_core::schema::Schema::text));
    let described = match plan.description.is_empty() {
        false => plan.description.to_string(),
        true => format!("Runs the workflow {}.", entry.full_name()),
    };
    let mut tool = Tool::new(name, described, schema)
        .with_meta(meta("heddle/workflow", format!("{}@{}", entry.full_name(), entry.version)));
    let title = Some(plan.title.to_string()).filter(|title| !title.is_empty());
    let mut hints = ToolAnnotations::new();
    if plan.leaves_nothing() {
        hints = hints.read_only(true).open_world(false);
    }
    tool.title.clone_from(&title);
    hints.title = title;
    tool.annotations = Some(hints);
    Some(Offered { tool, callee: Callee::Workflow(entry.full_name()), wrapped })
}

fn plugin_tool(entry: PluginEntry, name: String) -> Offered {
    let said = entry.metadata.clone();
    let (schema, wrapped) = object_schema(Some(&said.input_schema));
    let described = match said.description.is_empty() {
        false => said.description.clone(),
        true => format!("Calls {}.", said.reference()),
    };
    let mut tool = Tool::new(name, described, schema)
        .with_meta(meta("heddle/plugin", format!("{}@{}", said.reference(), said.version)));
    let (output, other) = object_schema(Some(&said.output_schema));
    if !other {
        tool.output_schema = Some(Arc::new(output));
    }
    let mut hints = ToolAnnotations::new();
    if entry.destructive {
        hints = hints.read_only(false).destructive(true);
    }
    // What has no way out of its sandbox changes nothing.
    if entry.needs.is_empty() && said.kind != PluginKind::Agent {
        hints = hints.read_only(true).open_world(false);
    }
    let title = Some(said.title.clone()).filter(|title| !title.is_empty());
    tool.title.clone_from(&title);
    hints.title = title;
    tool.annotations = Some(hints);
    Offered { tool, callee: Callee::Plugin(Arc::new(entry)), wrapped }
}

/// The node's own tools.
pub(super) fn own() -> [Tool; 2] {
    let schema = |properties: Value| {
        let whole = json!({
            "type": "object", "properties": properties, "required": ["run"], "additionalProperties": false,
        });
        whole.as_object().cloned().unwrap_or_default()
    };
    let run = json!({ "type": "string", "description": "The run's id, as the call that began it has told." });
    let wait = json!({
        "type": "integer", "minimum": 0, "maximum": 240, "default": 0,
        "description": "Seconds to wait for its end.",
    });
    let look = Tool::new(
        RUN,
        "Tells how a run stands: its result where it has ended, else what it does or waits for.",
        schema(json!({ "run": run, "waitSeconds": wait })),
    );
    let cancel = Tool::new(
        CANCEL,
        "Cancels a run: what it has under way ends, what it has done is undone where its workflow says how.",
        schema(json!({ "run": run })),
    );
    [
        look.with_annotations(ToolAnnotations::with_title("Look at a run").read_only(true).open_world(false)),
        cancel.with_annotations(
            ToolAnnotations::with_title("Cancel a run").destructive(true).idempotent(true).open_world(false),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_what_they_are() {
        let mut taken = BTreeSet::new();
        assert_eq!(unique("acme/report", &mut taken), "acme_report");
        assert_eq!(unique("tool:crm/find", &mut taken), "tool_crm_find");
        let other = unique("acme:report", &mut taken);
        assert!(other.starts_with("acme_report-") && other.len() == "acme_report-".len() + 8, "{other}");
        let long = unique(&format!("acme/{}", "x".repeat(80)), &mut taken);
        assert_eq!(long.len(), NAME_BYTES);
        assert_eq!(taken.len(), 4);
    }

    #[test]
    fn an_input_that_is_no_object_stands_in_one() {
        let of = |text: &str| object_schema(Some(&Json::trusted(text)));
        assert!(!of(r#"{"type":"object","properties":{}}"#).1);
        assert!(!of(r#"{"properties":{"a":{}}}"#).1);
        assert!(!of("{}").1);
        assert!(!of("true").1);
        let (schema, wrapped) = of(r#"{"type":"string"}"#);
        assert!(wrapped);
        assert_eq!(schema["properties"][WRAPPED], json!({ "type": "string" }));
        assert_eq!(object_schema(None).0["type"], json!("object"));
    }
}
