//! The whole document, from its head to its output.

use super::policy::{self, Retry, Timeouts};
use super::step::{self, Shared};
use super::walk::{Faults, Fields, span};
use super::{Catalog, OnStepFailure, Plan, Step, Verb, call, graph, wait};
use crate::document::{Doc, Fault, Key, Part, pointer};
use crate::expr::types::{Type, TypeNames};
use crate::expr::{Names, Template};
use crate::id::is_name;
use crate::json::Json;
use crate::limits::{AskedLimits, Limits};
use crate::schema::Schema;
use crate::time::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn plan(doc: &Doc, catalog: Option<&dyn Catalog>, limits: &Limits) -> Result<Plan, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(doc, "", &mut faults);
    let head = fields.need("document", &mut faults).map(|(doc, path)| head(doc, &path, &mut faults));
    if let Some((doc, path)) = fields.get("evaluate") {
        evaluate(doc, &path, &mut faults);
    }
    let input_schema = fields.get("input").and_then(|(doc, path)| input_schema(doc, &path, &mut faults));
    let steps = fields.need("steps", &mut faults);
    let entries = in_canonical_order(steps.as_ref().map(|(doc, _)| *doc));
    if let Some((doc, path)) = &steps {
        step_ids(doc, path, limits, &mut faults);
    }
    let ids: Vec<String> = entries.iter().map(|(k, _)| k.text.to_string()).collect();
    let mut shared = shared(&mut fields, &ids, &entries, input_schema.as_ref(), catalog, limits, &mut faults);
    let mut read = Vec::with_capacity(ids.len());
    for (index, (key, doc)) in entries.iter().enumerate() {
        let step = step::read(index, doc, &pointer("/steps", &key.text), &mut shared, &mut faults);
        if let Verb::Set(template) = &step.verb {
            shared.names.types.steps[index] = mapped(template.result.clone(), step.map.is_some());
        }
        read.push(step);
    }
    let (max_parallel, total, on_step_failure) = run_policy(&mut fields, limits, &mut faults);
    let most = total.unwrap_or(Span(limits.run_wall_ms));
    for ((key, doc), step) in entries.iter().zip(&read) {
        wait::fits(doc, &pointer("/steps", &key.text), step, most, &mut faults);
    }
    let output =
        fields.get("output").map(|(doc, path)| output(doc, &path, &shared.names, limits, &mut faults));
    fields.finish(&mut faults);
    let docs: Vec<&Doc> = entries.iter().map(|(_, doc)| doc).collect();
    graph::no_cycles(&read, &docs, &mut faults);
    match head.flatten() {
        Some(head) if faults.0.is_empty() => {
            Ok(assemble(doc, head, input_schema, read, output, max_parallel, total, on_step_failure, shared))
        }
        _ => {
            faults.0.sort();
            faults.0.dedup();
            Err(faults.0)
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "each is one part of the plan, named where it is read")]
fn assemble(
    doc: &Doc,
    head: Head,
    input_schema: Option<Schema>,
    steps: Vec<Step>,
    output: Option<Template>,
    max_parallel: Option<u32>,
    total: Option<Span>,
    on_step_failure: OnStepFailure,
    shared: Shared<'_>,
) -> Plan {
    let source = Json::from_value(doc.value());
    Plan {
        namespace: head.namespace,
        name: head.name,
        version: head.version,
        title: head.title,
        description: head.description,
        digest: source.digest(),
        source,
        input_schema,
        dependents: graph::dependents(&steps),
        order: graph::order(&steps),
        steps,
        output,
        max_parallel,
        total,
        on_step_failure,
        calls: shared.calls,
    }
}

/// The steps sorted by id. The journal names steps by their index, and the canonical form of a document has its keys
/// sorted: a plan that is read again from there must number its steps as the first one did.
fn in_canonical_order(steps: Option<&Doc>) -> Vec<&(Key, Doc)> {
    let mut entries: Vec<&(Key, Doc)> = match steps.map(|doc| &doc.part) {
        Some(Part::Map(entries)) => entries.iter().collect(),
        _ => Vec::new(),
    };
    entries.sort_by(|a, b| a.0.text.cmp(&b.0.text));
    entries
}

struct Head {
    namespace: Arc<str>,
    name: Arc<str>,
    version: semver::Version,
    title: Arc<str>,
    description: Arc<str>,
}

fn head(doc: &Doc, path: &str, faults: &mut Faults) -> Option<Head> {
    let mut fields = Fields::of(doc, path, faults);
    if let Some((doc, path)) = fields.need("dsl", faults)
        && doc.as_str() != Some("1.0")
    {
        faults.at(doc, &path, "wants `dsl: \"1.0\"`, in quotes");
    }
    let mut name = |key: &'static str, faults: &mut Faults| {
        let (doc, path) = fields.need(key, faults)?;
        match doc.as_str() {
            Some(text) if is_name(text) => Some(Arc::<str>::from(text)),
            _ => {
                faults.at(doc, &path, "wants a name: `[a-z][a-z0-9_-]*`, at most 64 bytes");
                None
            }
        }
    };
    let (namespace, own) = (name("namespace", faults), name("name", faults));
    let version = fields.need("version", faults).and_then(|(doc, path)| {
        let version = doc.as_str().and_then(|t| semver::Version::parse(t).ok());
        if version.is_none() {
            faults.at(doc, &path, "wants a semantic version such as `1.0.0`");
        }
        version
    });
    let title = fields.text("title", faults).unwrap_or_default().into();
    let description = fields.text("description", faults).unwrap_or_default().into();
    fields.finish(faults);
    Some(Head { namespace: namespace?, name: own?, version: version?, title, description })
}

fn evaluate(doc: &Doc, path: &str, faults: &mut Faults) {
    let mut fields = Fields::of(doc, path, faults);
    policy::word(&mut fields, "language", &[("cel", ())], faults);
    policy::word(&mut fields, "mode", &[("strict", ())], faults);
    fields.finish(faults);
}

fn input_schema(doc: &Doc, path: &str, faults: &mut Faults) -> Option<Schema> {
    let mut fields = Fields::of(doc, path, faults);
    let schema = fields.need("schema", faults).and_then(|(doc, path)| {
        match Schema::compile(&Json::from_value(doc.value())) {
            Ok(schema) => Some(schema),
            Err(fault) => {
                faults.at(doc, &path, fault.to_string());
                None
            }
        }
    });
    fields.finish(faults);
    schema
}

fn step_ids(doc: &Doc, path: &str, limits: &Limits, faults: &mut Faults) {
    let Part::Map(entries) = &doc.part else {
        faults.at(doc, path, format!("wants a map from id to step, and this is {}; write `fetch: {{call: ...}}` instead of a list entry", doc.kind()));
        return;
    };
    if entries.is_empty() {
        faults.at(doc, path, "there are no steps");
    }
    if entries.len() as u64 > limits.workflow_steps {
        faults.at(
            doc,
            path,
            format!("{} steps; the limit workflow_steps is {}", entries.len(), limits.workflow_steps),
        );
    }
    for (key, value) in entries.iter().filter(|(k, _)| !is_name(&k.text)) {
        faults.at(value, &pointer(path, &key.text), "a step's id is `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
}

fn mapped(item: Type, over_a_list: bool) -> Type {
    if over_a_list { Type::List(Arc::new(item)) } else { item }
}

fn shared<'a>(
    fields: &mut Fields<'_>,
    ids: &'a [String],
    entries: &[&(Key, Doc)],
    input: Option<&Schema>,
    catalog: Option<&'a dyn Catalog>,
    limits: &'a Limits,
    faults: &mut Faults,
) -> Shared<'a> {
    let steps = entries
        .iter()
        .map(|(_, doc)| {
            let over_a_list =
                matches!(&doc.part, Part::Map(e) if e.iter().any(|(k, _)| &*k.text == "forEach"));
            let item =
                call::callee(doc, catalog).map(|m| Type::of_schema(&m.output_schema)).unwrap_or_default();
            mapped(item, over_a_list)
        })
        .collect();
    let types = TypeNames {
        input: input.map(|s| Type::of_schema(s.text())).unwrap_or_default(),
        steps,
        vars: Vec::new(),
    };
    let names = Names { steps: Arc::new(ids.to_vec()), types, ..Names::default() };
    let mut shared = Shared {
        ids,
        names,
        limits,
        catalog,
        retries: BTreeMap::new(),
        default_retry: None,
        default_timeouts: Timeouts::default(),
        default_limits: AskedLimits::default(),
        calls: Vec::new(),
    };
    if let Some((doc, path)) = fields.get("use") {
        let mut inner = Fields::of(doc, &path, faults);
        if let Some((doc, path)) = inner.get("retries") {
            match &doc.part {
                Part::Map(entries) => {
                    for (key, doc) in entries {
                        let retry =
                            Retry::read(doc, &pointer(&path, &key.text), &shared.names, limits, faults);
                        shared.retries.insert(key.text.to_string(), retry);
                    }
                }
                _ => faults.at(
                    doc,
                    &path,
                    format!("wants a map from name to policy, and this is {}", doc.kind()),
                ),
            }
        }
        inner.finish(faults);
    }
    if let Some((doc, path)) = fields.get("defaults") {
        defaults(doc, &path, &mut shared, faults);
    }
    shared
}

fn defaults(doc: &Doc, path: &str, shared: &mut Shared<'_>, faults: &mut Faults) {
    let mut fields = Fields::of(doc, path, faults);
    if let Some((doc, path)) = fields.get("retry") {
        shared.default_retry = match doc.as_str() {
            Some(name) => step::named_retry(name, doc, &path, &shared.retries, faults),
            None => Some(Retry::read(doc, &path, &shared.names, shared.limits, faults)),
        };
    }
    if let Some((doc, path)) = fields.get("timeout") {
        shared.default_timeouts = Timeouts::read(doc, &path, Timeouts::default(), faults);
    }
    if let Some((doc, path)) = fields.get("limits") {
        shared.default_limits = policy::limits(doc, &path, AskedLimits::default(), faults);
    }
    fields.finish(faults);
}

fn run_policy(
    fields: &mut Fields<'_>,
    limits: &Limits,
    faults: &mut Faults,
) -> (Option<u32>, Option<Span>, OnStepFailure) {
    let max_parallel = fields.count("maxParallel", limits.run_parallel, faults);
    let total = fields.get("timeout").and_then(|(doc, path)| {
        if !matches!(doc.part, Part::Map(_)) {
            return span(doc, &path, faults);
        }
        let mut inner = Fields::of(doc, &path, faults);
        let total = inner.span("total", faults);
        inner.finish(faults);
        total
    });
    let on_step_failure = match fields.flag("failFast", faults) {
        Some(false) => OnStepFailure::FinishOthers,
        _ => OnStepFailure::FailFast,
    };
    (max_parallel, total, on_step_failure)
}

fn output(doc: &Doc, path: &str, names: &Names, limits: &Limits, faults: &mut Faults) -> Template {
    let mut fields = Fields::of(doc, path, faults);
    let template = match fields.need("as", faults) {
        Some((doc, path)) => {
            let mut found = Vec::new();
            let template = Template::compile(doc, &path, names, limits, &mut found);
            faults.0.extend(found);
            template
        }
        None => Template::literal(crate::value::Value::Null),
    };
    fields.finish(faults);
    template
}
