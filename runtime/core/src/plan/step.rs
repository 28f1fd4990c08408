//! One step of the document.

use super::policy::{self, CachePolicy, Retry, Timeouts, Tolerance};
use super::walk::{Faults, Fields};
use super::{Catalog, Dependency, MapOver, Step, Verb, graph, wait};
use crate::document::{Doc, Part, pointer};
use crate::expr::types::Type;
use crate::expr::{Names, Template};
use crate::limits::{AskedLimits, Limits};
use crate::outcome::PluginKind;
use crate::plugin::{Metadata, PluginRef};
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What every step of a workflow shares.
pub(super) struct Shared<'a> {
    pub(super) ids: &'a [String],
    pub(super) names: Names,
    pub(super) limits: &'a Limits,
    pub(super) catalog: Option<&'a dyn Catalog>,
    pub(super) retries: BTreeMap<String, Retry>,
    pub(super) default_retry: Option<Retry>,
    pub(super) default_timeouts: Timeouts,
    pub(super) default_limits: AskedLimits,
    pub(super) calls: Vec<PluginRef>,
}

/// The plugin that a `call` names, as far as it is known.
pub(super) fn callee(doc: &Doc, catalog: Option<&dyn Catalog>) -> Option<Arc<Metadata>> {
    let Part::Map(entries) = &doc.part else { return None };
    let (_, call) = entries.iter().find(|(k, _)| &*k.text == "call")?;
    catalog?.find(&PluginRef::parse(call.as_str()?).ok()?)
}

/// Reads one step.
pub(super) fn read(
    index: usize,
    doc: &Doc,
    path: &str,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Step {
    let mut fields = Fields::of(doc, path, faults);
    let mut reads = BTreeSet::new();
    let title = fields.text("title", faults).unwrap_or_default().into();
    fields.text("description", faults);
    let depends: Vec<Dependency> = match fields.get("dependsOn") {
        Some((doc, path)) => graph::read(doc, &path, shared.ids, faults),
        None => Vec::new(),
    };
    let when = fields
        .get("when")
        .and_then(|(doc, path)| policy::condition(doc, &path, &shared.names, shared.limits, faults));
    reads.extend(when.iter().flat_map(|e| e.reads.iter().copied()));
    let (map, names) = match fields.get("forEach") {
        Some((doc, path)) => map_over(doc, &path, shared, faults),
        None => (None, shared.names.clone()),
    };
    reads.extend(map.iter().flat_map(|m| m.list.reads.iter().copied()));
    let (verb, kind, verb_reads) = verb(&mut fields, &names, shared, faults);
    reads.extend(verb_reads);
    let retry = match fields.get("retry") {
        Some((doc, path)) => retry(doc, &path, shared, faults),
        None => shared.default_retry.clone(),
    };
    reads.extend(retry.iter().flat_map(|r| r.when.iter()).flat_map(|e| e.reads.iter().copied()));
    let timeouts = match fields.get("timeout") {
        Some((doc, path)) => Timeouts::read(doc, &path, shared.default_timeouts, faults),
        None => shared.default_timeouts,
    };
    let cache = match fields.get("cache") {
        Some((doc, path)) => CachePolicy::read(doc, &path, kind, faults),
        None => CachePolicy::default_of(kind),
    };
    let limits = match fields.get("limits") {
        Some((doc, path)) => policy::limits(doc, &path, shared.default_limits, faults),
        None => shared.default_limits,
    };
    let tools = match fields.get("tools") {
        Some((doc, path)) => tools(doc, &path, kind, faults),
        None => Vec::new(),
    };
    fields.finish(faults);
    let id = shared.ids[index].as_str().into();
    let mut step = Step { id, title, depends, when, verb, map, retry, timeouts, cache, limits, tools, reads };
    graph::imply(&mut step);
    step
}

/// Reports a second verb.
fn one_verb(given: [(&str, bool); 3], (doc, path): (&Doc, &str), faults: &mut Faults) {
    let verbs: Vec<&str> = given.iter().filter_map(|(verb, given)| given.then_some(*verb)).collect();
    if let [first, .., last] = verbs.as_slice() {
        let message =
            format!("a step has one verb, and this one has both `{first}` and `{last}`; make it two steps");
        faults.at(doc, path, message);
    }
}

fn compile(doc: &Doc, path: &str, names: &Names, shared: &Shared<'_>, faults: &mut Faults) -> Template {
    let mut found = Vec::new();
    let template = Template::compile(doc, path, names, shared.limits, &mut found);
    faults.0.extend(found);
    template
}

/// Exactly one verb.
fn verb(
    fields: &mut Fields<'_>,
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> (Verb, PluginKind, BTreeSet<u32>) {
    let (doc, path) = (fields.doc, fields.path.clone());
    let (call, set, with) = (fields.get("call"), fields.get("set"), fields.get("with"));
    let wait = fields.get("wait");
    one_verb(
        [("call", call.is_some()), ("set", set.is_some()), ("wait", wait.is_some())],
        (doc, &path),
        faults,
    );
    if let Some((wait, path)) = wait {
        let (wait, reads) = wait::read(fields, (wait, &path), names, shared, faults);
        return (Verb::Wait(wait), PluginKind::Transform, reads);
    }
    if let Some((doc, path)) = set {
        let template = compile(doc, &path, names, shared, faults);
        let reads = template.reads.clone();
        return (Verb::Set(template), PluginKind::Transform, reads);
    }
    called(call, with, (doc, &path), names, shared, faults)
}

/// A part of the document with its path.
type At<'a> = (&'a Doc, String);

/// The verb `call`, or what stands for it where there is none.
fn called(
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
        // A verb of the language that this version lacks is reported as such; this would only be noise beside it.
        let named_other = matches!(&doc.part, Part::Map(entries) if entries.iter().any(|(k, _)| ["agent", "workflow", "approval", "emit", "parallel"].contains(&&*k.text)));
        if !named_other {
            faults.at(
                doc,
                path,
                "the step has no verb: give it `call: kind:name@range`, `set: ...` or `wait: ...`",
            );
        }
        return (Verb::Set(Template::literal(Value::Null)), PluginKind::Transform, reads);
    };
    let reference = match call_doc.as_str() {
        None => Err(format!("wants `kind:name@range`, and this is {}", call_doc.kind())),
        Some(text) => PluginRef::parse(text).map_err(|e| e.to_string()),
    };
    match reference {
        Err(message) => {
            faults.at(call_doc, &call_path, message);
            (Verb::Set(Template::literal(Value::Null)), PluginKind::Transform, reads)
        }
        Ok(reference) => {
            known(
                &reference,
                call_doc,
                &call_path,
                with.as_ref().map(|(d, p)| (*d, p.as_str())),
                &with_template,
                shared,
                faults,
            );
            let kind = reference.kind;
            let call = shared.calls.iter().position(|c| *c == reference).unwrap_or_else(|| {
                shared.calls.push(reference);
                shared.calls.len() - 1
            });
            (Verb::Call { call, with: with_template }, kind, reads)
        }
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
            match crate::expr::tree::nearest(&asked, names.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => "; load it first: `heddle plugin push FILE`".to_owned(),
            }
        };
        faults.at(doc, path, format!("no plugin `{reference}` is loaded{hint}"));
        return;
    };
    let schema = metadata.input_schema.value();
    let (Type::Object(given), Some(Value::List(required))) = (&template.result, schema.get("required"))
    else {
        return;
    };
    for name in required.iter().filter_map(Value::as_str).filter(|n| !given.fields.contains_key(*n)) {
        let (at, path) = with.unwrap_or((doc, path));
        faults.at(at, path, format!("`{}` needs `{name}` in its input, by its schema", metadata.reference()));
    }
    if let (Type::Object(wanted), Some((with, path))) = (Type::of_schema(&metadata.input_schema), with)
        && wanted.others.is_none()
    {
        for name in given.fields.keys().filter(|n| !wanted.fields.contains_key(*n)) {
            faults.at(
                with,
                &pointer(path, name),
                format!("`{}` takes no `{name}`, by its schema", metadata.reference()),
            );
        }
    }
}

fn map_over(doc: &Doc, path: &str, shared: &Shared<'_>, faults: &mut Faults) -> (Option<MapOver>, Names) {
    let mut fields = Fields::of(doc, path, faults);
    let list = fields.need("in", faults).and_then(|(doc, path)| {
        let expr = policy::expression(doc, &path, &shared.names, shared.limits, faults)?;
        if !expr.result.may_be_list() {
            faults.at(doc, &path, format!("`forEach` goes over a list; `{}` never is one", expr.text));
        }
        Some(expr)
    });
    let mut names = shared.names.clone();
    for (key, fallback, what) in [
        ("as", "item", list.as_ref().map(|l| l.result.item()).unwrap_or_default()),
        ("at", "index", Type::Int),
    ] {
        let name = fields.text(key, faults).unwrap_or(fallback);
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !fits || ["input", "steps", "run", "error"].contains(&name) {
            faults.at(doc, &pointer(path, key), format!("`{name}` cannot be bound; choose letters, digits and `_`, and none of `input`, `steps`, `run`, `error`"));
        }
        names.vars.push(name.to_owned());
        names.types.vars.push(what);
    }
    let max_parallel = fields.count("maxParallel", shared.limits.fan_out, faults);
    let tolerance = fields
        .get("tolerateFailures")
        .map_or(Tolerance::Count(0), |(doc, path)| tolerance(doc, &path, faults));
    fields.finish(faults);
    (list.map(|list| MapOver { list, max_parallel, tolerance }), names)
}

fn tolerance(doc: &Doc, path: &str, faults: &mut Faults) -> Tolerance {
    match &doc.part {
        Part::Scalar(Value::Int(n)) if (0..=100_000).contains(n) => return Tolerance::Count(*n as u32),
        Part::Scalar(Value::String(text)) => {
            if let Some(percent) = text
                .strip_suffix('%')
                .and_then(|p| p.trim().parse::<f64>().ok())
                .filter(|p| (0.0..=100.0).contains(p))
            {
                return Tolerance::Percent(percent);
            }
        }
        _ => {}
    }
    faults.at(doc, path, "wants a number of items, or a share such as `5%`");
    Tolerance::Count(0)
}

fn retry(doc: &Doc, path: &str, shared: &Shared<'_>, faults: &mut Faults) -> Option<Retry> {
    match doc.as_str() {
        Some(name) => named_retry(name, doc, path, &shared.retries, faults),
        None => Some(Retry::read(doc, path, &shared.names, shared.limits, faults)),
    }
}

pub(super) fn named_retry(
    name: &str,
    doc: &Doc,
    path: &str,
    retries: &BTreeMap<String, Retry>,
    faults: &mut Faults,
) -> Option<Retry> {
    if name == "none" {
        return None;
    }
    let found = retries.get(name).cloned();
    if found.is_none() {
        let hint = crate::expr::tree::nearest(name, retries.keys().map(String::as_str))
            .map(|n| format!("; did you mean `{n}`?"))
            .unwrap_or_else(|| "; define it under `use.retries`".to_owned());
        faults.at(doc, path, format!("no retry policy is called `{name}`{hint}"));
    }
    found
}

fn tools(doc: &Doc, path: &str, kind: PluginKind, faults: &mut Faults) -> Vec<Arc<str>> {
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
        let text = item.as_str().unwrap_or_default();
        let fits = text.split_once(':').is_some_and(|(kind, name)| {
            matches!(PluginKind::from_word(kind), Some(PluginKind::Tool | PluginKind::Transform))
                && (name == "*" || crate::id::is_name(name))
        });
        match fits {
            true => patterns.push(text.into()),
            false => faults.at(
                item,
                &pointer(path, &i.to_string()),
                "wants `tool:name`, `transform:name` or `tool:*`",
            ),
        }
    }
    patterns
}
