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
    let Some(schema) = alone(schema, plugin.input_schema.value()) else { return };
    let Ok(schema) = Schema::compile(&Json::from_value(schema)) else { return };
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

/// A part of a schema that stands for itself: with what it points to, where that is a definition of the whole. What
/// points elsewhere cannot be taken out; the call itself will check it.
fn alone(schema: &Value, whole: &Value) -> Option<Value> {
    let mut pointers = Vec::new();
    references(schema, &mut pointers);
    let definitions = whole.get(DEFINITIONS);
    definitions.into_iter().for_each(|definitions| references(definitions, &mut pointers));
    let (Value::Map(map), false) = (schema, pointers.is_empty()) else { return Some(schema.clone()) };
    let within =
        |pointer: &&str| pointer.strip_prefix("#/").is_some_and(|rest| rest.starts_with(DEFINITIONS));
    if !pointers.iter().all(within) || map.get(DEFINITIONS).is_some() {
        return None;
    }
    let mut map = (**map).clone();
    map.insert(DEFINITIONS.into(), definitions?.clone());
    Some(Value::Map(map.into()))
}

/// Where definitions stand.
const DEFINITIONS: &str = "$defs";

fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Map(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.iter().for_each(|(_, value)| references(value, found));
        }
        Value::List(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_schema_points_to_counts_as_well() {
        let whole = Json::parse(
            br##"{"$defs":{"Op":{"enum":["trim","lower"]},"List":{"type":"array","items":{"$ref":"#/$defs/Op"}}},
            "properties":{"ops":{"$ref":"#/$defs/List"},"elsewhere":{"$ref":"#/properties/ops"},"plain":{"type":"integer"}}}"##,
        )
        .unwrap();
        let property = |name: &str| whole.value().get("properties").unwrap().get(name).unwrap();
        let fits = |name: &str, value: &str| {
            let schema =
                Schema::compile(&Json::from_value(alone(property(name), whole.value()).unwrap())).unwrap();
            schema.check(&Json::parse(value.as_bytes()).unwrap()).is_ok()
        };
        assert!(fits("ops", r#"["trim"]"#) && !fits("ops", r#"["nope"]"#) && !fits("ops", "\"trim\""));
        assert!(fits("plain", "1") && !fits("plain", "\"x\""));
        assert_eq!(alone(property("elsewhere"), whole.value()).map(|_| ()), None);
    }
}
