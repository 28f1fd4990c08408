//! Whether an input that a workflow writes can be what a plugin takes, as far as that is known before anything runs:
//! what is written out is checked against the schema, what an expression gives by its type.

use super::walk::Faults;
use crate::document::{Doc, Part, pointer};
use crate::expr::Template;
use crate::expr::types::Type;
use crate::json::Json;
use crate::plugin::Metadata;
use crate::schema::Schema;
use crate::value::Value;

/// Reports what the input of a call lacks, what it has too much, and what cannot be right in it. `written` tells
/// whether there is a `with` at all.
pub(super) fn input(
    (doc, path): (&Doc, &str),
    template: &Template,
    plugin: &Metadata,
    written: bool,
    faults: &mut Faults,
) {
    let schema = plugin.input_schema.value();
    let Type::Object(given) = &template.result else {
        if written {
            value(doc, path, schema, &template.result, plugin, faults);
        }
        return;
    };
    if let Some(Value::List(required)) = schema.get("required") {
        for name in required.iter().filter_map(Value::as_str).filter(|n| !given.fields.contains_key(*n)) {
            let message = format!("`{}` needs `{name}` in its input, by its schema", plugin.reference());
            faults.at(doc, path, message);
        }
    }
    let Type::Object(wanted) = Type::of_schema(&plugin.input_schema) else { return };
    for (name, found) in given.fields.iter().filter(|_| written) {
        let (at, path) = (doc.get(name).unwrap_or(doc), pointer(path, name));
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => value(at, &path, property, found, plugin, faults),
            None if wanted.others.is_none() => {
                let message = format!("`{}` takes no `{name}`, by its schema", plugin.reference());
                faults.at(at, &path, message);
            }
            None => {}
        }
    }
}

/// One member: a constant against its schema, an expression by its type.
fn value(doc: &Doc, path: &str, schema: &Value, found: &Type, plugin: &Metadata, faults: &mut Faults) {
    if computed(doc) {
        let wanted = Type::of_schema(&Json::from_value(schema.clone()));
        if !found.may_be(&wanted) {
            let message = format!(
                "`{}` wants {} here, by its schema, and this is {}",
                plugin.reference(),
                wanted.name(),
                found.name()
            );
            faults.at(doc, path, message);
        }
        return;
    }
    // A schema that points elsewhere in its document cannot be taken out of it; the call itself will check it.
    if refers(schema) {
        return;
    }
    let Ok(schema) = Schema::compile(&Json::from_value(schema.clone())) else { return };
    for mismatch in schema.check(&Json::from_value(doc.value())).err().unwrap_or_default() {
        let message = format!("`{}`: {}, by its schema", plugin.reference(), mismatch.message);
        faults.at(doc, &format!("{path}{}", mismatch.pointer), message);
    }
}

/// Whether an expression stands in it.
pub(super) fn computed(doc: &Doc) -> bool {
    match &doc.part {
        Part::Scalar(Value::String(text)) => text.contains("${"),
        Part::Scalar(_) => false,
        Part::List(items) => items.iter().any(computed),
        Part::Map(entries) => entries.iter().any(|(_, value)| computed(value)),
    }
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Map(map) => map.get("$ref").is_some() || map.iter().any(|(_, value)| refers(value)),
        Value::List(items) => items.iter().any(refers),
        _ => false,
    }
}
