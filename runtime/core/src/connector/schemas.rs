//! Schemas that a document shares under `schemas`, brought to where they are used: each tool's schema stands alone.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Where a document says that a schema stands.
const HERE: &str = "#/schemas/";
/// Where it stands in a tool's schema.
const THERE: &str = "#/$defs/";

/// A schema with everything that it refers to.
///
/// # Errors
/// The name of what it refers to and the document has not.
pub(super) fn whole(schema: &Value, shared: &Map<String, Value>) -> Result<Value, String> {
    let (mut out, mut wanted, mut done) = (schema.clone(), Vec::new(), BTreeSet::new());
    redirect(&mut out, &mut wanted);
    let mut defs = Map::new();
    while let Some(name) = wanted.pop() {
        if !done.insert(name.clone()) {
            continue;
        }
        let mut found = shared.get(&name).cloned().ok_or(name.clone())?;
        redirect(&mut found, &mut wanted);
        defs.insert(name, found);
    }
    if let (false, Value::Object(members)) = (defs.is_empty(), &mut out) {
        let own = members.entry("$defs").or_insert_with(|| json!({}));
        if let Value::Object(own) = own {
            own.extend(defs);
        }
    }
    Ok(out)
}

/// Lets every reference point to where the schema will stand, and tells which are wanted.
fn redirect(schema: &mut Value, wanted: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(HERE)
            {
                wanted.push(name.to_owned());
                *reference = format!("{THERE}{name}");
            }
            members.values_mut().for_each(|member| redirect(member, wanted));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, wanted)),
        _ => {}
    }
}
