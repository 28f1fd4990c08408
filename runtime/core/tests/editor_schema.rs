#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
//! The schema of the language for editors (`heddle workflow schema`) against the checker, which is what counts: the
//! schema knows every key that the checker knows and no other, and refuses no workflow that we show to anybody.

#[path = "scenario/file.rs"]
#[allow(dead_code, reason = "only the workflows of the stories are wanted here")]
mod file;

use heddle_core::document::{Doc, Fault, Key, Part, pointer};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::Plan;
use heddle_core::schema::Schema;
use heddle_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const TEXT: &str = include_str!("../../server/src/cli/workflow/schema.json");

/// A key that no map has and that resembles none.
const PROBE: &str = "0000000000000000000000000000000000000000";

fn schema() -> Schema {
    Schema::compile(&Json::parse(TEXT.as_bytes()).unwrap()).unwrap()
}

fn read(doc: &Doc) -> Result<Plan, Vec<Fault>> {
    Plan::read(doc, None, &Limits::default())
}

fn parse(text: &str) -> Doc {
    Doc::parse(text, &Limits::default()).unwrap_or_else(|fault| panic!("{fault}"))
}

/// The documents of a file, by name.
fn named(text: &str) -> Vec<(Arc<str>, Value)> {
    let Value::Map(named) = parse(text).value() else { panic!("wants documents by name") };
    named.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn wholes() -> Vec<(Arc<str>, Value)> {
    named(include_str!("editor_schema/whole.yaml"))
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("  {}\n", item.to_string())).collect()
}

/// What the checker accepts and the schema does not.
fn refused(schema: &Schema, name: &str, doc: &Doc) -> Option<String> {
    read(doc).ok()?;
    let mismatches = schema.check(&Json::from_value(doc.value())).err()?;
    Some(format!("{name}\n{}", lines(mismatches)))
}

#[allow(clippy::disallowed_methods, reason = "a test reads its documents; the core reads no files")]
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|known| known == extension) {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn what_the_scenarios_say_is_accepted() {
    let schema = schema();
    let (mut accepted, mut wrong) = (0, Vec::new());
    for story in file::all() {
        for doc in story.workflows.iter().chain([&story.workflow]) {
            accepted += usize::from(read(doc).is_ok());
            wrong.extend(refused(&schema, &story.file, doc));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted >= 450, "only {accepted} workflows were there to be held against the schema");
}

#[test]
fn what_the_samples_and_the_guide_say_is_accepted() {
    let schema = schema();
    let mut documents = files("plugins/samples", "yaml");
    assert!(!documents.is_empty(), "there are no samples");
    for (name, page) in files("docs/guide", "md") {
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
        let whole = blocks.filter(|(block, _)| block.contains("document:") && block.contains("\nsteps:"));
        documents.extend(whole.map(|(block, _)| (name.clone(), block.to_owned())));
    }
    let docs: Vec<(String, Doc)> = documents.iter().map(|(name, text)| (name.clone(), parse(text))).collect();
    let wrong: Vec<String> = docs.iter().filter_map(|(name, doc)| refused(&schema, name, doc)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let accepted = docs.iter().filter(|(_, doc)| read(doc).is_ok()).count();
    assert!(accepted >= 3, "only {accepted} documents were there to be held against the schema");
}

#[test]
fn what_is_wrong_is_refused_by_both() {
    let schema = schema();
    for (name, body) in named(include_str!("editor_schema/wrong.yaml")) {
        let Value::Map(mut body) = body else { panic!("{name}: wants a map") };
        let head = [("dsl", "1.0"), ("namespace", "a"), ("name", "b"), ("version", "1.0.0")];
        let head = Value::map(head.map(|(key, text)| (key, Value::text(text))));
        Arc::make_mut(&mut body).insert("document".into(), head);
        let json = Json::from_value(Value::Map(body));
        assert!(read(&Doc::of_value(json.value())).is_err(), "the checker accepts {name}");
        assert!(schema.check(&json).is_err(), "the schema accepts {name}");
    }
}

/// The path of every map of a document.
fn maps(doc: &Doc, path: &str, found: &mut Vec<String>) {
    match &doc.part {
        Part::Scalar(_) => {}
        Part::List(items) => {
            for (at, item) in items.iter().enumerate() {
                maps(item, &pointer(path, &at.to_string()), found);
            }
        }
        Part::Map(entries) => {
            found.push(path.to_owned());
            for (key, value) in entries {
                maps(value, &pointer(path, &key.text), found);
            }
        }
    }
}

/// The document with the key that nobody knows in the map at this path.
fn probed(doc: &Doc, path: &str, wanted: &str) -> Doc {
    let mut doc = doc.clone();
    match &mut doc.part {
        Part::Scalar(_) => {}
        Part::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                *item = probed(item, &pointer(path, &at.to_string()), wanted);
            }
        }
        Part::Map(entries) => {
            for (key, value) in entries.iter_mut() {
                *value = probed(value, &pointer(path, &key.text), wanted);
            }
            if path == wanted {
                entries.push((Key { text: PROBE.into(), place: doc.place }, Doc::of_value(&Value::Null)));
            }
        }
    }
    doc
}

/// The keys that the checker asks for in the map at this path, as it lists them to whoever writes another; `None` where
/// the map may have any.
fn asked(doc: &Doc, path: &str) -> Option<BTreeSet<String>> {
    let faults = read(doc).err().unwrap_or_default();
    let place = pointer(path, PROBE);
    let fault = faults.iter().find(|fault| fault.path == place)?;
    let (_, keys) = fault.message.split_once(&format!("unknown key `{PROBE}`; there are "))?;
    Some(keys.split(", ").map(|key| key.trim_matches('`').to_owned()).collect())
}

/// Keys that the checker asks for only to say why they cannot stand there.
fn only_to_refuse(path: &str) -> &'static [&'static str] {
    match path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice() {
        ["steps", _, "compensate"] | ["steps", _, "parallel", "steps", _, "compensate"] => {
            &["compensate", "dependsOn", "parallel"]
        }
        ["steps", _, "parallel", "steps", _] => &["parallel"],
        ["steps", _, "forEach", "forEach"] => &["forEach"],
        ["onError", "steps", _] | ["finally", _] => &["compensate"],
        _ => &[],
    }
}

/// What a `$ref` points at.
fn meant<'a>(root: &'a Value, reference: &str) -> &'a Value {
    let path = reference.strip_prefix("#/").unwrap();
    path.split('/').fold(root, |at, key| at.get(key).unwrap_or_else(|| panic!("{reference} points nowhere")))
}

/// The schemas that are applied to one value, by `$ref` and by choice.
fn applied<'a>(root: &'a Value, schema: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(schema);
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        applied(root, meant(root, name), found);
    }
    if let Some(Value::List(choices)) = schema.get("anyOf") {
        choices.iter().for_each(|choice| applied(root, choice, found));
    }
}

/// Whether a schema takes only the keys that it names.
fn closed(schema: &Value) -> bool {
    matches!(schema.get("additionalProperties"), Some(Value::Bool(false)))
}

/// The keys that the schema knows in the map at this path; `None` where the map may have any.
fn known(root: &Value, path: &str) -> Option<BTreeSet<String>> {
    let mut here = Vec::new();
    applied(root, root, &mut here);
    for segment in path.split('/').skip(1) {
        let mut next = Vec::new();
        for schema in here {
            let property = schema.get("properties").and_then(|properties| properties.get(segment));
            let other = || schema.get("additionalProperties").or_else(|| schema.get("items"));
            if let Some(inner) = property.or_else(other) {
                applied(root, inner, &mut next);
            }
        }
        here = next;
    }
    here.iter().find(|schema| closed(schema))?;
    let mut keys = BTreeMap::new();
    for schema in here {
        if let Some(Value::Map(properties)) = schema.get("properties") {
            for (key, inner) in properties.iter() {
                *keys.entry(key.to_string()).or_insert(true) &= !matches!(inner, Value::Bool(false));
            }
        }
    }
    Some(keys.into_iter().filter_map(|(key, allowed)| allowed.then_some(key)).collect())
}

/// Every map of the documents with the keys that the checker knows there.
fn closed_maps() -> BTreeMap<(Arc<str>, String), BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for (name, whole) in wholes() {
        let doc = Doc::of_value(&whole);
        read(&doc).unwrap_or_else(|faults| panic!("{name}\n{}", lines(faults)));
        let mut paths = Vec::new();
        maps(&doc, "", &mut paths);
        for path in paths {
            if let Some(keys) = asked(&probed(&doc, "", &path), &path) {
                found.insert((name.clone(), path), keys);
            }
        }
    }
    found
}

#[test]
fn the_schema_knows_the_keys_of_the_checker_and_no_others() {
    let root = Json::parse(TEXT.as_bytes()).unwrap().value().clone();
    let mut wrong = Vec::new();
    for ((name, path), mut asked) in closed_maps() {
        asked.retain(|key| !only_to_refuse(&path).contains(&key.as_str()));
        // The schema does not tell the types of nodes apart: those that run nothing have only some of these keys.
        if path.starts_with("/nodes/") && !asked.contains("call") {
            continue;
        }
        let known = known(&root, &path);
        if known.as_ref() != Some(&asked) {
            wrong.push(format!("{name} {path}: the checker knows {asked:?}, the schema {known:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", lines(wrong));
}

/// Where the checker takes any key, the schema does, and where it does not, neither does the schema.
#[test]
fn a_key_that_nobody_knows_is_refused_by_both_or_by_neither() {
    let schema = schema();
    for (name, whole) in wholes() {
        let doc = Doc::of_value(&whole);
        schema.check(&Json::from_value(whole)).unwrap_or_else(|found| panic!("{name}\n{}", lines(found)));
        let mut paths = Vec::new();
        maps(&doc, "", &mut paths);
        for path in paths {
            let probed = probed(&doc, "", &path);
            let checked = schema.check(&Json::from_value(probed.value()));
            assert_eq!(read(&probed).is_ok(), checked.is_ok(), "{name} {path}");
        }
    }
}

/// So that a key of a map that the documents above do not have yet is not missed, the checker's text is read, too.
#[test]
fn the_documents_have_every_key_of_the_checker() {
    let seen: BTreeSet<String> = closed_maps().into_values().flatten().collect();
    let call = r#"\.(?:get|need|text|span|count|flag)\(\s*"(\w+)"|\bword\(\s*[&\w ]+,\s*"(\w+)"|\b(?:end|size|name)\(\s*"(\w+)""#;
    let call = regex::Regex::new(call).unwrap();
    // Members of a JSON Schema, which the checker looks into.
    let others = ["required", "properties"];
    let mut literals = BTreeSet::new();
    for (_, text) in files("runtime/core/src/plan", "rs") {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for found in call.captures_iter(code) {
            literals.extend(found.iter().skip(1).flatten().map(|key| key.as_str().to_owned()));
        }
    }
    let missed: Vec<&String> =
        literals.iter().filter(|key| !seen.contains(*key) && !others.contains(&key.as_str())).collect();
    assert!(missed.is_empty(), "the checker knows {missed:?}; put them into editor_schema/whole.yaml");
    assert!(literals.len() >= 70, "only {} keys were found in the checker's text", literals.len());
}

/// Collects the keys without a description and the closed maps that are not closed.
fn undescribed(root: &Value, schema: &Value, path: &str, wrong: &mut Vec<String>) {
    match schema {
        Value::List(items) => items.iter().for_each(|item| undescribed(root, item, path, wrong)),
        Value::Map(members) => {
            for (keyword, inner) in members.iter() {
                let at = pointer(path, keyword);
                match (&**keyword, inner) {
                    ("dependentSchemas", _) => {}
                    ("properties", Value::Map(keys)) => {
                        let narrows = schema.get("$ref").is_some();
                        if !narrows && !closed(schema) {
                            wrong.push(format!("{path} takes keys that it does not know"));
                        }
                        for (key, inner) in keys.iter() {
                            let at = pointer(&at, key);
                            let says =
                                |schema: &Value| schema.get("description").and_then(Value::as_str).is_some();
                            let of = inner.get("$ref").and_then(Value::as_str);
                            let described = says(inner) || of.is_some_and(|of| says(meant(root, of)));
                            if !narrows && !described {
                                wrong.push(format!("{at} has no description"));
                            }
                            undescribed(root, inner, &at, wrong);
                        }
                    }
                    _ => undescribed(root, inner, &at, wrong),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_is_described_and_every_map_is_closed() {
    let mut wrong = Vec::new();
    let root = Json::parse(TEXT.as_bytes()).unwrap().value().clone();
    undescribed(&root, &root, "", &mut wrong);
    assert!(wrong.is_empty(), "\n{}", lines(wrong));
}
