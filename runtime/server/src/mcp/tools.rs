//! What a client may call: published workflows and plugins, as the operator offers them (`mcp.tools`), and two tools of
//! the node's own for whoever is not given tasks.

use crate::door::offer::{self, Effects, Offered, offered};
use crate::http::Api;
use crate::http::problem::Problem;
use heddle_core::json::Json;
use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// Looks at a run, and waits for it.
pub(super) const RUN: &str = "heddle_run";
/// Cancels a run.
pub(super) const CANCEL: &str = "heddle_cancel";
/// The member that an input stands in which is no object.
pub(super) const WRAPPED: &str = "input";

/// Everything that is offered, in an order that does not change by itself.
pub(super) async fn all(api: &Api) -> Result<Vec<Offered>, Problem> {
    offered(api, &api.app.doors.mcp, &[RUN, CANCEL]).await
}

/// The one that a tool's name means.
pub(super) async fn find(api: &Api, name: &str) -> Result<Option<Offered>, Problem> {
    offer::find(api, (&api.app.doors.mcp, &[RUN, CANCEL]), name).await
}

/// Whether the input is no object, so that it stands in a member of one.
pub(super) fn is_wrapped(offered: &Offered) -> bool {
    object_schema(offered.input.as_ref()).1
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
        // Null is one of the things that it may be, and no tool's input.
        Value::Object(mut schema)
            if schema
                .get("type")
                .and_then(Value::as_array)
                .is_some_and(|kinds| kinds.contains(&json!("object"))) =>
        {
            schema.insert("type".to_owned(), json!("object"));
            (schema, false)
        }
        Value::Object(schema) if schema.is_empty() => (open(), false),
        Value::Bool(true) => (open(), false),
        mut other => {
            // What it refers to is looked for at the root.
            let shared = other.as_object_mut().and_then(|schema| schema.remove("$defs"));
            let mut whole = json!({
                "type": "object", "properties": { WRAPPED: other }, "required": [WRAPPED], "additionalProperties": false,
            });
            if let Some(shared) = shared {
                whole["$defs"] = shared;
            }
            (whole.as_object().cloned().unwrap_or_default(), true)
        }
    }
}

/// As a tool.
pub(super) fn tool(offered: &Offered) -> Tool {
    let (schema, _) = object_schema(offered.input.as_ref());
    let mut meta = MetaObject::new();
    let key = if offered.is_workflow() { "heddle/workflow" } else { "heddle/plugin" };
    meta.insert(key.to_owned(), json!(format!("{}@{}", offered.name, offered.version)));
    let mut tool = Tool::new(offered.id.clone(), offered.description.clone(), schema).with_meta(meta);
    // No schema of the output is declared: an answer may also be that the run goes on, or where to read its output.
    let mut hints = match offered.effects {
        Effects::None => ToolAnnotations::new().read_only(true).open_world(false),
        Effects::Destroys => ToolAnnotations::new().read_only(false).destructive(true),
        Effects::Unknown => ToolAnnotations::new(),
    };
    let title = Some(offered.title.clone()).filter(|title| !title.is_empty());
    tool.title.clone_from(&title);
    hints.title = title;
    tool.annotations = Some(hints);
    tool
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
        "type": "integer", "minimum": 0, "default": 0,
        "description": "Seconds to wait for its end; the node may wait for less.",
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
        let (schema, wrapped) = of(r##"{"type":"array","items":{"$ref":"#/$defs/P"},"$defs":{"P":{}}}"##);
        assert!(wrapped && schema["$defs"]["P"].is_object(), "{schema:?}");
        let (schema, wrapped) = of(r#"{"type":["object","null"]}"#);
        assert_eq!((wrapped, &schema["type"]), (false, &json!("object")));
    }
}
