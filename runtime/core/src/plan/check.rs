//! The whole document, from its head to its output.

use super::parts::{self, Compensation, Entry};
use super::policy::{self, Retry, Timeouts};
use super::step::{self, Shared};
use super::walk::{Faults, Fields, span};
use super::{
    Catalog, InFlight, Notify, OnStepFailure, Part, Plan, Reading, Step, absent, admission, call, graph,
    group, narrow, nodes, notify, reach, schedules, triggers, wait,
};
use crate::document::{Doc, Fault, Part as DocPart, pointer};
use crate::expr::names::ErrorName;
use crate::expr::types::{Type, TypeNames};
use crate::expr::{Names, Template};
use crate::id::is_name;
use crate::json::Json;
use crate::limits::{AskedLimits, Limits};
use crate::schema::Schema;
use crate::template;
use crate::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn plan(
    doc: &Doc,
    catalog: Option<&dyn Catalog>,
    limits: &Limits,
    reading: Reading,
) -> Result<Plan, Vec<Fault>> {
    if doc.get(template::KEY).is_none() {
        return workflow(doc, catalog, limits, reading);
    }
    let mut faults = Vec::new();
    let Some(schema) = template::parameters(doc, &mut faults) else { return Err(faults) };
    let sample = template::sampled(doc, &schema, limits, &mut faults);
    let read = workflow(&sample, catalog, limits, reading);
    let named: BTreeSet<String> = faults.iter().map(|fault| fault.path.clone()).collect();
    match read {
        Ok(plan) if faults.is_empty() => {
            let source = Json::from_value(doc.value());
            Ok(Plan { digest: source.digest(), source, template: Some(schema), ..plan })
        }
        // What names no parameter is told once.
        read => {
            let others = read.err().into_iter().flatten().filter(|fault| !named.contains(&fault.path));
            faults.extend(others);
            faults.sort();
            Err(faults)
        }
    }
}

/// A document without parameters.
fn workflow(
    doc: &Doc,
    catalog: Option<&dyn Catalog>,
    limits: &Limits,
    reading: Reading,
) -> Result<Plan, Vec<Fault>> {
    if !nodes::is_graph(doc) {
        return in_steps(doc, catalog, limits, reading);
    }
    let translated = nodes::translate(doc, limits);
    match in_steps(&translated.doc, catalog, limits, reading) {
        Ok(plan) if translated.faults.is_empty() => Ok(plan),
        Ok(_) => Err(translated.all_faults(Vec::new())),
        Err(faults) => Err(translated.all_faults(faults)),
    }
}

/// A document that says `steps`.
fn in_steps(
    doc: &Doc,
    catalog: Option<&dyn Catalog>,
    limits: &Limits,
    reading: Reading,
) -> Result<Plan, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(doc, "", &mut faults);
    only_parameters(&mut fields, &mut faults);
    let head = fields.need("document", &mut faults).map(|(doc, path)| head(doc, &path, limits, &mut faults));
    if let Some((doc, path)) = fields.get("evaluate") {
        evaluate(doc, &path, &mut faults);
    }
    let input_schema = fields.get("input").and_then(|(doc, path)| input_schema(doc, &path, &mut faults));
    let workflow = head.as_ref().and_then(Option::as_ref).map_or(String::new(), Head::dotted);
    starts(&mut fields, input_schema.as_ref(), catalog, (&workflow, limits, reading), &mut faults);
    let steps = fields.need("steps", &mut faults);
    // The other form: a document that has them is translated before it is read.
    for key in ["nodes", "edges"] {
        fields.get(key);
    }
    let (entries, compensation) =
        parts::entries(steps.as_ref().map(|(doc, _)| *doc), &mut fields, &mut faults);
    if let Some((doc, path)) = &steps {
        step_ids(doc, path, &mut faults);
        let count = entries.iter().filter(|entry| entry.part == Part::Main).count() as u64;
        if count > limits.workflow_steps {
            let most = limits.workflow_steps;
            faults.at(doc, path, format!("{count} steps; the limit workflow_steps is {most}"));
        }
    }
    parts::no_doubles(&entries, &mut faults);
    let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    let mut shared = shared(&mut fields, &ids, &entries, input_schema.as_ref(), catalog, limits, &mut faults);
    let read = steps_of(&entries, reading, &mut shared, &mut faults);
    let (max_parallel, total, on_step_failure) = run_policy(&mut fields, limits, &mut faults);
    let most = total.unwrap_or(Span(limits.run_wall_ms));
    for (entry, step) in entries.iter().zip(&read) {
        wait::fits((entry.doc, &entry.path), step, most, limits.aftermath_ms, &mut faults);
    }
    let admission = admission::read(&mut fields, &shared.names, (limits, reading), &mut faults);
    let notify =
        fields.get("notify").map(|(doc, path)| notify::read((doc, &path), catalog, limits, &mut faults));
    let in_flight = upgrade(&mut fields, &mut faults);
    let output =
        fields.get("output").map(|(doc, path)| output(doc, &path, &shared.names, limits, &mut faults));
    fields.finish(&mut faults);
    graph::no_cycles(&read, &entries, &mut faults);
    reach::check(&read, &entries, on_step_failure, reading, &mut faults);
    match head.flatten() {
        Some(head) if faults.list.is_empty() => Ok(assemble(
            doc,
            head,
            input_schema,
            read,
            output,
            max_parallel,
            total,
            (on_step_failure, compensation, admission, notify.unwrap_or_default(), in_flight),
            shared,
        )),
        _ => {
            faults.list.sort();
            faults.list.dedup();
            Err(faults.list)
        }
    }
}

/// When and on what it starts by itself. Whoever starts it reads that again.
fn starts(
    fields: &mut Fields<'_>,
    schema: Option<&Schema>,
    catalog: Option<&dyn Catalog>,
    (workflow, limits, reading): (&str, &Limits, Reading),
    faults: &mut Faults,
) {
    let (schedule, triggers) = (fields.get("schedule"), fields.get("triggers"));
    if reading == Reading::Again {
        return;
    }
    if let Some((doc, path)) = schedule {
        schedules::check(doc, &path, schema, (workflow, limits), faults);
    }
    if let Some((doc, path)) = triggers {
        triggers::check((doc, &path), schema, catalog, (workflow, limits), faults);
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
    (on_step_failure, compensation, admission, notify, in_flight): (
        OnStepFailure,
        Compensation,
        admission::AdmissionRules,
        Vec<Notify>,
        InFlight,
    ),
    shared: Shared<'_>,
) -> Plan {
    let source = Json::from_value(doc.value());
    Plan {
        namespace: head.namespace,
        name: head.name,
        version: head.version,
        title: head.title,
        description: head.description,
        labels: head.labels,
        template: None,
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
        compensation,
        admission,
        in_flight,
        calls: shared.calls,
        notify,
    }
}

/// Reads the steps of all parts, each with the names that its part sees.
fn steps_of(
    entries: &[Entry<'_>],
    reading: Reading,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Vec<Step> {
    let skips = absent::skips(entries);
    let held = |absent| match reading {
        Reading::New => Arc::new(absent),
        Reading::Again => Arc::default(),
    };
    let mut read: Vec<Step> = Vec::with_capacity(entries.len());
    let mut seen = None;
    for part in Part::ALL {
        shared.names.absent = held(absent::for_part(entries, &skips, part));
        shared.names.error = match part {
            Part::Main => ErrorName::Unbound,
            _ => ErrorName::Bound,
        };
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.part == part) {
            // Most steps see the same as the one before, and making the list takes as long as the workflow.
            let sees = (part, entry.group.as_deref());
            if seen.replace(sees) != Some(sees) {
                shared.names.steps = Arc::new(parts::visible(entries, part, sees.1));
            }
            if let Some(undone) = entry.undoes {
                shared.names.absent = held(absent::for_undoing(undone, &read, &skips));
            }
            let mut step = step::read(index, entry, shared, faults);
            graph::imply(&mut step, entries);
            if let Some(template) = step.verb.computes() {
                let result = mapped(template.result.clone(), depth(entry.doc));
                Arc::make_mut(&mut shared.names.types.steps)[index] = result;
            }
            if let Some(undone) = entry.undoes {
                read[undone as usize].compensation = Some(index as u32);
            }
            read.push(step);
        }
    }
    group::tie(&mut read);
    shared.names.steps = Arc::new(parts::visible(entries, Part::Main, None));
    shared.names.absent = held(absent::for_part(entries, &skips, Part::Main));
    shared.names.error = ErrorName::Unbound;
    read
}

struct Head {
    namespace: Arc<str>,
    name: Arc<str>,
    version: semver::Version,
    title: Arc<str>,
    description: Arc<str>,
    labels: Vec<(Arc<str>, Arc<str>)>,
}

impl Head {
    /// `namespace.name`.
    fn dotted(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

fn head(doc: &Doc, path: &str, limits: &Limits, faults: &mut Faults) -> Option<Head> {
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
    let labels =
        fields.get("labels").map(|(doc, path)| labels(doc, &path, limits, faults)).unwrap_or_default();
    fields.finish(faults);
    Some(Head { namespace: namespace?, name: own?, version: version?, title, description, labels })
}

/// By which a workflow is found in a list.
fn labels(doc: &Doc, path: &str, limits: &Limits, faults: &mut Faults) -> Vec<(Arc<str>, Arc<str>)> {
    let DocPart::Map(entries) = &doc.part else {
        faults.at(doc, path, format!("wants a map from name to text, and this is {}", doc.kind()));
        return Vec::new();
    };
    if entries.len() as u64 > limits.labels {
        let (found, most) = (entries.len(), limits.labels);
        faults.at(doc, path, format!("{found} labels; the limit labels is {most}"));
    }
    let mut found = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let path = pointer(path, &key.text);
        match value.as_str() {
            None => faults.at(
                value,
                &path,
                format!("wants text, and this is {}; write it in quotes", value.kind()),
            ),
            Some(text) if text.len().max(key.text.len()) as u64 > limits.label_bytes => {
                let most = limits.label_bytes;
                faults.at(
                    value,
                    &path,
                    format!("a name or a value longer than {most} bytes (limit label_bytes)"),
                );
            }
            Some(text) => found.push((key.text.clone(), Arc::from(text))),
        }
    }
    found.sort();
    found
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

fn step_ids(doc: &Doc, path: &str, faults: &mut Faults) {
    let DocPart::Map(entries) = &doc.part else {
        faults.at(doc, path, format!("wants a map from id to step, and this is {}; write `fetch: {{call: ...}}` instead of a list entry", doc.kind()));
        return;
    };
    if entries.is_empty() {
        faults.at(doc, path, "there are no steps");
    }
    for (key, value) in entries.iter().filter(|(k, _)| !is_name(&k.text)) {
        faults.at(value, &pointer(path, &key.text), "a step's id is `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
}

fn mapped(item: Type, depth: usize) -> Type {
    (0..depth).fold(item, |item, _| Type::List(Arc::new(item)))
}

/// How many lists stand around the output of a step.
fn depth(doc: &Doc) -> usize {
    std::iter::successors(doc.get("forEach"), |outer| outer.get("forEach")).count()
}

fn shared<'a>(
    fields: &mut Fields<'_>,
    ids: &'a [String],
    entries: &[Entry<'_>],
    input: Option<&Schema>,
    catalog: Option<&'a dyn Catalog>,
    limits: &'a Limits,
    faults: &mut Faults,
) -> Shared<'a> {
    let steps = entries
        .iter()
        .map(|entry| {
            let doc = entry.doc;
            let item =
                call::callee(doc, catalog).map(|m| Type::of_schema(&m.output_schema)).unwrap_or_default();
            mapped(item, depth(doc))
        })
        .collect();
    let types = TypeNames {
        input: input.map(|s| Type::of_schema(s.text())).unwrap_or_default(),
        steps: Arc::new(steps),
        vars: Vec::new(),
    };
    let mapped = |(index, entry): (u32, &Entry<'_>)| entry.doc.get("forEach").is_some().then_some(index);
    let lists = Arc::new((0..).zip(entries).filter_map(mapped).collect());
    let steps = Arc::new(parts::visible(entries, Part::Main, None));
    let names = Names { steps, lists, types, ..Names::default() };
    let mut shared = Shared {
        ids,
        parts: entries.iter().map(|entry| entry.part).collect(),
        entries: entries.iter().map(|entry| (entry.id.clone(), entry.group.clone())).collect(),
        names,
        limits,
        catalog,
        retries: BTreeMap::new(),
        default_retry: None,
        default_timeouts: Timeouts::default(),
        default_limits: AskedLimits::default(),
        secrets: None,
        calls: Vec::new(),
    };
    if let Some((doc, path)) = fields.get("use") {
        let mut inner = Fields::of(doc, &path, faults);
        if let Some((doc, path)) = inner.get("retries") {
            match &doc.part {
                DocPart::Map(entries) => {
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
        shared.secrets = inner.get("secrets").map(|(doc, path)| narrow::used(doc, &path, faults));
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
        if !matches!(doc.part, DocPart::Map(_)) {
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

/// A template says its parameters, which have been read before.
fn only_parameters(fields: &mut Fields<'_>, faults: &mut Faults) {
    if let Some((doc, path)) = fields.get("template") {
        let mut inner = Fields::of(doc, &path, faults);
        inner.need("parameters", faults);
        inner.finish(faults);
    }
}

/// What becomes of runs that are under way.
fn upgrade(fields: &mut Fields<'_>, faults: &mut Faults) -> InFlight {
    let Some((doc, path)) = fields.get("upgrade") else { return InFlight::default() };
    let mut inner = Fields::of(doc, &path, faults);
    let words = &[("pin", InFlight::Pin), ("migrate", InFlight::Migrate)];
    let word = policy::word(&mut inner, "inFlight", words, faults);
    inner.finish(faults);
    word.unwrap_or_default()
}

fn output(doc: &Doc, path: &str, names: &Names, limits: &Limits, faults: &mut Faults) -> Template {
    let mut fields = Fields::of(doc, path, faults);
    let template = match fields.need("as", faults) {
        Some((doc, path)) => {
            let mut found = Vec::new();
            let template = Template::compile(doc, &path, names, limits, &mut found);
            faults.list.extend(found);
            template
        }
        None => Template::literal(crate::value::Value::Null),
    };
    fields.finish(faults);
    template
}
