//! `call: {capability: ocr.text, prefer: [local, cheapest], requires: {region: eu}}`: a plugin by what it can do.

use super::policy;
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part, pointer};
use crate::id::is_name;
use crate::outcome::PluginKind;
use crate::route::{CapabilityRef, Preference, is_label, is_label_value};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Preferences of one call.
const MOST_PREFERENCES: usize = 8;
/// Requirements of one call.
const MOST_REQUIREMENTS: usize = 16;

/// Reads a call by capability; `kind` is that of its plugin where the call does not say it.
pub(super) fn read(doc: &Doc, path: &str, kind: PluginKind, faults: &mut Faults) -> Option<CapabilityRef> {
    let mut fields = Fields::of(doc, path, faults);
    let name = fields.need("capability", faults).and_then(|(doc, path)| {
        let name = doc.as_str().filter(|name| name.len() <= 128 && name.split('.').all(is_name));
        if name.is_none() {
            faults.at(doc, &path, "wants dotted names such as `ocr.text`");
        }
        name
    });
    let kinds = [PluginKind::Tool, PluginKind::Transform, PluginKind::Agent].map(|kind| (kind.word(), kind));
    let kind = policy::word(&mut fields, "kind", &kinds, faults).unwrap_or(kind);
    let prefer = fields.get("prefer").map(|(doc, path)| prefer(doc, &path, faults)).unwrap_or_default();
    let requires = fields.get("requires").map(|(doc, path)| requires(doc, &path, faults)).unwrap_or_default();
    fields.finish(faults);
    Some(CapabilityRef { kind, name: name?.into(), prefer, requires })
}

fn prefer(doc: &Doc, path: &str, faults: &mut Faults) -> Vec<Preference> {
    let Part::List(items) = &doc.part else {
        let message = format!("wants a list such as `[local, cheapest]`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return Vec::new();
    };
    if items.len() > MOST_PREFERENCES {
        let message = format!("{} preferences; at most {MOST_PREFERENCES} are weighed", items.len());
        faults.at(doc, path, message);
    }
    let mut found = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.as_str().and_then(Preference::parse) {
            Some(preference) => found.push(preference),
            None => {
                let message = "wants `cheapest`, `newest`, a label such as `local`, or `label=value`";
                faults.at(item, &pointer(path, &at.to_string()), message);
            }
        }
    }
    found
}

fn requires(doc: &Doc, path: &str, faults: &mut Faults) -> BTreeMap<Arc<str>, Arc<str>> {
    let Part::Map(entries) = &doc.part else {
        let message = format!("wants labels such as `{{region: eu}}`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return BTreeMap::new();
    };
    if entries.len() > MOST_REQUIREMENTS {
        let message = format!("{} labels; at most {MOST_REQUIREMENTS} can be required", entries.len());
        faults.at(doc, path, message);
    }
    let mut found = BTreeMap::new();
    for (key, value) in entries {
        let path = pointer(path, &key.text);
        let text = match &value.part {
            Part::Scalar(Value::String(text)) => text.to_string(),
            Part::Scalar(scalar @ (Value::Bool(_) | Value::Int(_) | Value::Number(_))) => {
                let mut text = String::new();
                scalar.write_json(&mut text);
                text
            }
            _ => String::new(),
        };
        if !is_label(&key.text) {
            faults.at(value, &path, "a label's name is `[a-z][a-z0-9_-]*`, at most 64 bytes");
        } else if !is_label_value(&text) {
            faults.at(
                value,
                &path,
                "a label's value is text without blanks, a number, `true` or `false`; at most 64 bytes",
            );
        } else {
            found.insert(key.text.clone(), text.into());
        }
    }
    found
}
