//! `secrets` and `grants` of a step, `use.secrets` of a workflow: what the step leaves of what an operator has granted to
//! the plugins that it calls. A workflow takes away and never adds.

use super::step::Shared;
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part, pointer};
use crate::expr::tree::nearest;
use crate::grant::{HttpRule, Narrowing};
use crate::id::is_name;
use crate::route::Callee;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of the name that a plugin knows a secret by.
const NAME_BYTES: usize = 64;

/// Reads `use.secrets`: the secrets that a workflow uses at all.
pub(super) fn used(doc: &Doc, path: &str, faults: &mut Faults) -> BTreeSet<Arc<str>> {
    let Part::List(items) = &doc.part else {
        faults.at(
            doc,
            path,
            format!("wants a list of secrets such as `[api-key]`, and this is {}", doc.kind()),
        );
        return BTreeSet::new();
    };
    let mut secrets = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        match item.as_str().filter(|name| is_name(name)) {
            Some(name) => drop(secrets.insert(name.into())),
            None => faults.at(item, &pointer(path, &i.to_string()), NO_SECRET),
        }
    }
    secrets
}

const NO_SECRET: &str = "wants the name of a secret of the node, such as `api-key`";

/// Reads what a step says, with what the workflow says for all of them.
pub(super) fn read(
    step: &mut Fields<'_>,
    callees: &[&Callee],
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Option<Arc<Narrowing>> {
    let (secrets, grants) = (step.get("secrets"), step.get("grants"));
    let asking: Vec<&Callee> = callees.iter().copied().filter(|callee| !callee.kind().is_pure()).collect();
    if asking.is_empty() {
        // Of what calls nothing it was told already.
        if callees.is_empty() {
            return None;
        }
        for (doc, path) in secrets.into_iter().chain(grants) {
            faults.at(doc, &path, "a transform asks nothing of the outside, and has nothing to leave it");
        }
        return None;
    }
    let of_workflow = || {
        let own = shared.secrets.as_ref()?;
        Some(own.iter().map(|name| (name.clone(), name.clone())).collect())
    };
    let secrets = match secrets {
        Some((doc, path)) => Some(named(doc, &path, &asking, shared, faults)),
        None => of_workflow(),
    };
    let mut narrowing = Narrowing { secrets, ..Narrowing::default() };
    if let Some((doc, path)) = grants {
        left(doc, &path, &mut narrowing, faults);
    }
    (narrowing != Narrowing::default()).then(|| Arc::new(narrowing))
}

/// `secrets: {NAME: api-key}`: which secret of the node the plugin gets where it asks for `NAME`.
fn named(
    doc: &Doc,
    path: &str,
    asking: &[&Callee],
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let Part::Map(entries) = &doc.part else {
        let message = format!("wants a map such as `{{API_KEY: api-key}}`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return BTreeMap::new();
    };
    let mut secrets = BTreeMap::new();
    for (key, doc) in entries {
        let place = pointer(path, &key.text);
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if key.text.is_empty() || key.text.len() > NAME_BYTES || !key.text.bytes().all(fits) {
            let message = "the name that the plugin asks for has letters, digits, `_` and `-`, at most 64";
            faults.at(doc, &place, message);
            continue;
        }
        let Some(name) = doc.as_str().filter(|name| is_name(name)) else {
            faults.at(doc, &place, NO_SECRET);
            continue;
        };
        if let Some(used) = shared.secrets.as_ref().filter(|used| !used.contains(name)) {
            let near = nearest(name, used.iter().map(|known| &**known));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            faults.at(doc, &place, format!("`use.secrets` does not name `{name}`{hint}"));
        }
        for why in asking.iter().filter_map(|callee| lacks(callee, name, shared)) {
            faults.at(doc, &place, why);
        }
        secrets.insert(key.text.as_ref().into(), name.into());
    }
    secrets
}

/// Why the plugin may not use this secret, where that is known.
fn lacks(callee: &Callee, secret: &str, shared: &Shared<'_>) -> Option<String> {
    let Callee::Plugin(reference) = callee else { return None };
    let catalog = shared.catalog?;
    let metadata = catalog.find(reference)?;
    catalog.lacks_use(&metadata, secret)
}

/// `grants: {http: ["GET https://api.example.com"], kv: false}`.
fn left(doc: &Doc, path: &str, narrowing: &mut Narrowing, faults: &mut Faults) {
    let mut fields = Fields::of(doc, path, faults);
    if let Some((doc, path)) = fields.get("http") {
        narrowing.http = Some(rules(doc, &path, faults));
    }
    for (key, flag) in [
        ("kv", &mut narrowing.no_kv),
        ("artifacts", &mut narrowing.no_artifacts),
        ("config", &mut narrowing.no_config),
    ] {
        let Some((doc, path)) = fields.get(key) else { continue };
        match doc.part {
            Part::Scalar(Value::Bool(false)) => *flag = true,
            _ => {
                let message = format!("a step takes away and never grants: `{key}: false`, or nothing");
                faults.at(doc, &path, message);
            }
        }
    }
    fields.finish(faults);
}

fn rules(doc: &Doc, path: &str, faults: &mut Faults) -> Vec<HttpRule> {
    let Part::List(items) = &doc.part else {
        let message = format!(
            "wants a list such as `[\"GET https://api.example.com\"]`, and this is {}; `[]` for no request",
            doc.kind()
        );
        faults.at(doc, path, message);
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match HttpRule::parse(item.as_str().unwrap_or_default()) {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.at(item, &pointer(path, &i.to_string()), fault.to_string()),
        }
    }
    rules
}
