//! `wait`: for a time, until a point in time, or for a signal.

use super::policy;
use super::step::Shared;
use super::walk::{Faults, Fields, span};
use super::{OnParentCancel, Part, Plan, Step, Verb, Wait};
use crate::document::{Doc, Part as DocPart, pointer};
use crate::expr::Names;
use crate::expr::Template;
use crate::expr::types::Type;
use crate::id::is_name;
use crate::time::{Span, Timestamp};
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Reads a wait: `30s`, `{for: 30s}`, `{until: 2026-11-21T06:00:00Z}`, `{signal: paid, match: ${ ... }, timeout: 2h}`.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> (Wait, BTreeSet<u32>) {
    if let Some((with, path)) = step.get("with") {
        faults.at(with, &path, "`with` is the input of a `call`, and a `wait` calls nothing");
    }
    if step.get("forEach").is_some() {
        faults.at(doc, path, "a `forEach` cannot wait; put the `wait` into a step of its own");
    }
    let compile = |doc: &Doc, path: &str, faults: &mut Faults| {
        let mut found = Vec::new();
        let template = Template::compile(doc, path, names, shared.limits, &mut found);
        faults.list.extend(found);
        template
    };
    let nothing = || (Wait::For(Template::literal(Value::Null)), BTreeSet::new());
    if !matches!(doc.part, DocPart::Map(_)) {
        return duration(doc, path, &compile, faults);
    }
    let mut fields = Fields::of(doc, path, faults);
    let given = [fields.get("for"), fields.get("until"), fields.get("signal")];
    let (matches, timeout) = (fields.get("match"), fields.span("timeout", faults));
    fields.finish(faults);
    if given.iter().flatten().count() != 1 {
        faults.at(doc, path, "wants exactly one of `for`, `until` and `signal`");
        return nothing();
    }
    if let ([.., None], Some((at, path))) = (&given, &matches) {
        faults.at(at, path, "only a `signal` can be matched");
    }
    if let ([.., None], Some(_)) = (&given, timeout) {
        faults.at(doc, path, "only the wait for a `signal` has a `timeout`; a time ends by itself");
    }
    match given {
        [Some((doc, path)), ..] => duration(doc, &path, &compile, faults),
        [_, Some((doc, path)), _] => {
            let template = compile(doc, &path, faults);
            if let Some(Value::String(text)) = template.constant()
                && let Err(fault) = text.parse::<Timestamp>()
            {
                faults.at(doc, &path, fault.to_string());
            }
            let reads = template.reads.clone();
            (Wait::Until(template), reads)
        }
        [.., Some((doc, path))] => {
            let name = doc.as_str().unwrap_or_default();
            if !is_name(name) {
                faults.at(doc, &path, "wants the name of a signal: `[a-z][a-z0-9_-]*`, at most 64 bytes");
            }
            let matches = matches.and_then(|(doc, path)| {
                let mut names = names.clone();
                names.vars.push("event".to_owned());
                let event = [("name", Type::String), ("by", Type::String), ("data", Type::Any)];
                names.types.vars.push(Type::closed(event));
                policy::condition(doc, &path, &names, shared.limits, faults)
            });
            let reads = matches.iter().flat_map(|m| m.reads.iter().copied()).collect();
            (Wait::Signal { name: name.into(), matches, timeout }, reads)
        }
        _ => nothing(),
    }
}

impl Plan {
    /// The events of their tenant that runs of this are told of: those that a step waits for.
    pub fn listens(&self) -> Vec<Arc<str>> {
        let named = self.steps.iter().filter_map(|step| match &step.verb {
            Verb::Wait(Wait::Signal { name, .. }) => Some(name.clone()),
            _ => None,
        });
        named.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Whether a wait that is written out can end before its run has to.
pub(super) fn fits(
    (doc, path): (&Doc, &str),
    step: &Step,
    most: Span,
    aftermath_ms: u64,
    faults: &mut Faults,
) {
    let (verb, asked) = match &step.verb {
        Verb::Wait(Wait::For(template)) => ("wait", template.constant().and_then(|text| span_of(text).ok())),
        Verb::Wait(Wait::Signal { timeout, .. }) => ("wait", *timeout),
        Verb::Approval(approval) => ("approval", approval.timeout),
        Verb::Call { .. } if step.on_failure.is_some() => {
            ("onFailure", step.on_failure.as_ref().and_then(|ask| ask.timeout))
        }
        Verb::Workflow(child)
            if child.on_parent_cancel == OnParentCancel::Leave
                && step.timeouts.run.is_some()
                && doc.get("timeout").is_some() =>
        {
            let message = "`timeout.run` is the time of the run that the step asks for, and `onParentCancel: leave` lets that go on; write `timeout: {total: ...}` for the time that the step waits";
            return faults.at(doc, &pointer(path, "timeout"), message);
        }
        _ => return,
    };
    if step.part != Part::Main {
        let most = Span(aftermath_ms);
        if let Some(asked) = asked.filter(|asked| *asked >= most) {
            let message = format!(
                "it may wait {asked}, and what follows the steps must end within {most} (`limits.aftermath_ms`)"
            );
            faults.at(doc, &pointer(path, verb), message);
        }
        return;
    }
    if let Some(asked) = asked.filter(|asked| *asked >= most) {
        let message = format!(
            "it may wait {asked}, and the run must end within {most}; give the workflow `timeout: {{total: ...}}`"
        );
        faults.at(doc, &pointer(path, verb), message);
    }
}

fn duration(
    doc: &Doc,
    path: &str,
    compile: &dyn Fn(&Doc, &str, &mut Faults) -> Template,
    faults: &mut Faults,
) -> (Wait, BTreeSet<u32>) {
    let template = compile(doc, path, faults);
    if template.constant().is_some() {
        // One that is written out is checked now, in the words of every other duration.
        span(doc, path, faults);
    }
    let reads = template.reads.clone();
    (Wait::For(template), reads)
}

/// A duration that an expression gave.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn span_of(value: &Value) -> Result<Span, String> {
    match value {
        Value::String(text) => Span::parse(text).map_err(|fault| fault.to_string()),
        other => Err(format!("wants a duration such as `30s`, and this is {}", other.type_name())),
    }
}

/// A point in time that an expression gave.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn time_of(value: &Value) -> Result<Timestamp, String> {
    match value {
        Value::String(text) => text.parse::<Timestamp>().map_err(|fault| fault.to_string()),
        other => Err(format!("wants a point in time as text, and this is {}", other.type_name())),
    }
}
