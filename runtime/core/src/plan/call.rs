//! `call`: which plugin, with what, and whether the two can fit.

use super::step::{Shared, compile};
use super::walk::Faults;
use super::{Catalog, Verb, agent, capability, fit};
use crate::document::{Doc, Part, pointer};
use crate::expr::tree::nearest;
use crate::expr::{Names, Template};
use crate::outcome::PluginKind;
use crate::plugin::{Metadata, PluginRef, in_full, is_pattern};
use crate::route::{Callee, CapabilityRef};
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The plugin that a `call` names, as far as it is known.
pub(super) fn callee(doc: &Doc, catalog: Option<&dyn Catalog>) -> Option<Arc<Metadata>> {
    let agent = doc.get("agent").and_then(agent::named);
    let named = doc.get("call").or(agent.as_ref())?;
    catalog?.find(&PluginRef::parse(named.as_str()?).ok()?)
}

/// A part of the document with its path.
pub(super) type At<'a> = (&'a Doc, String);

/// The verb `call`, or what stands for it where there is none.
pub(super) fn called(
    call: Option<At<'_>>,
    with: Option<At<'_>>,
    (doc, path): (&Doc, &str),
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> (Verb, PluginKind, BTreeSet<u32>) {
    let with_template = match &with {
        Some((doc, path)) => compile(doc, path, names, shared, faults),
        None => compile(&Doc::of_value(&Value::map::<Arc<str>>([])), "", names, shared, faults),
    };
    let reads = with_template.reads.clone();
    let Some((call_doc, call_path)) = call else {
        faults.at(
            doc,
            path,
            "the step has no verb: give it `call: kind:name@range`, `agent: ...`, `workflow: ...`, `set: ...`, `emit: ...`, `parallel: ...`, `wait: ...` or `approval: ...`",
        );
        return (Verb::Set(Template::literal(Value::Null)), PluginKind::Transform, reads);
    };
    let at = with.as_ref().map(|(doc, path)| (*doc, path.as_str()));
    match resolve((call_doc, &call_path), PluginKind::Tool, at, &with_template, shared, faults) {
        Some((call, kind)) => (Verb::Call { call, with: with_template }, kind, reads),
        None => (Verb::Set(Template::literal(Value::Null)), PluginKind::Transform, reads),
    }
}

/// The plugin that a `call` names, or the capability that it asks for, as an index into the plan's calls, checked
/// against its input. A capability that does not say of which kind is of this one.
pub(super) fn resolve(
    (doc, path): (&Doc, &str),
    kind: PluginKind,
    with: Option<(&Doc, &str)>,
    template: &Template,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Option<(usize, PluginKind)> {
    let callee = match (&doc.part, doc.as_str()) {
        (Part::Map(_), _) => Callee::Capability(capability::read(doc, path, kind, faults)?),
        (_, Some(text)) => {
            let reference = PluginRef::parse(text).map_err(|fault| faults.at(doc, path, fault.to_string()));
            Callee::Plugin(reference.ok()?)
        }
        _ => {
            let message =
                format!("wants `kind:name@range` or `{{capability: ...}}`, and this is {}", doc.kind());
            faults.at(doc, path, message);
            return None;
        }
    };
    match &callee {
        Callee::Plugin(reference) => known(reference, doc, path, with, template, shared, faults),
        Callee::Capability(capability) => {
            provided(capability, (doc, path), with, template, shared, faults);
        }
    }
    let kind = callee.kind();
    let known = shared.calls.iter().position(|call| *call == callee);
    let call = known.unwrap_or_else(|| {
        shared.calls.push(callee);
        shared.calls.len() - 1
    });
    Some((call, kind))
}

/// Checks a call by capability: that somebody provides it, and that its input can fit each of them.
fn provided(
    capability: &CapabilityRef,
    (doc, path): (&Doc, &str),
    with: Option<(&Doc, &str)>,
    template: &Template,
    shared: &Shared<'_>,
    faults: &mut Faults,
) {
    let Some(catalog) = shared.catalog else { return };
    match catalog.candidates(capability) {
        Ok(candidates) => {
            let (at, place) = with.unwrap_or((doc, path));
            for metadata in candidates {
                if let Some(why) = catalog.lacks_grant(&metadata) {
                    faults.at(doc, path, why);
                }
                fit::input((at, place), template, &metadata, with.is_some(), faults);
            }
        }
        Err(why) => faults.at(doc, path, why),
    }
}

/// Checks a call against the plugin that it means: that there is one, and that its input can fit.
fn known(
    reference: &PluginRef,
    doc: &Doc,
    path: &str,
    with: Option<(&Doc, &str)>,
    template: &Template,
    shared: &Shared<'_>,
    faults: &mut Faults,
) {
    let Some(catalog) = shared.catalog else { return };
    let Some(metadata) = catalog.find(reference) else {
        let names = catalog.names();
        let asked = format!("{}:{}", reference.kind.word(), reference.name);
        let hint = if names.contains(&asked) {
            format!("; it is there in other versions: `heddle plugin ls {}`", reference.name)
        } else {
            unloaded(&asked, &names)
        };
        faults.at(doc, path, format!("no plugin `{reference}` is loaded{hint}"));
        return;
    };
    if let Some(why) = catalog.lacks_grant(&metadata) {
        faults.at(doc, path, why);
    }
    let (at, path) = with.unwrap_or((doc, path));
    fit::input((at, path), template, &metadata, with.is_some(), faults);
}

/// What an agent may call.
pub(super) fn tools(
    doc: &Doc,
    path: &str,
    kind: PluginKind,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Vec<Arc<str>> {
    if kind != PluginKind::Agent {
        faults.at(doc, path, "only an agent calls tools; remove `tools`, or call an `agent:`");
    }
    let Part::List(items) = &doc.part else {
        faults.at(
            doc,
            path,
            format!("wants a list such as `[tool:search, \"transform:*\"]`, and this is {}", doc.kind()),
        );
        return Vec::new();
    };
    let mut patterns = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let said = item.as_str().unwrap_or_default();
        let text = &*in_full(said);
        let fits = is_pattern(text) && !text.starts_with(PluginKind::Agent.word());
        let place = pointer(path, &i.to_string());
        if !fits {
            faults.at(item, &place, "wants `tool:name`, `transform:name`, `tool:service/*` or `tool:*`");
            continue;
        }
        if let Some(catalog) = shared.catalog.filter(|_| !text.ends_with('*')) {
            let names = catalog.names();
            if !names.iter().any(|name| name == text) {
                faults.at(item, &place, format!("no plugin `{text}` is loaded{}", unloaded(text, &names)));
            }
        }
        patterns.push(text.into());
    }
    patterns
}

/// What to do about a plugin that is not there.
fn unloaded(asked: &str, names: &[String]) -> String {
    match nearest(asked, names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; load it first: `heddle plugin push FILE`".to_owned(),
    }
}
