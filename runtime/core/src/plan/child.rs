//! `workflow`: a run of another workflow as a step, published (`ref`) or made by a step before it (`from`).

use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use super::{Plan, Verb, policy};
use crate::document::{Doc, Part, pointer};
use crate::expr::{Names, Template};
use crate::plan::WorkflowRef;
use crate::plugin::{is_pattern, pattern_has};
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A run of another workflow.
#[derive(Clone, Debug)]
pub struct Child {
    /// What is run.
    pub workflow: ChildWorkflow,
    /// Its input.
    pub with: Template,
    /// What becomes of it when this step is cancelled.
    pub on_parent_cancel: OnParentCancel,
    /// What a workflow that was made may call: `kind:name` or `kind:*`. `None`: what the workflow that made it calls.
    pub allow: Option<Vec<Arc<str>>>,
}

/// What is run.
#[derive(Clone, Debug)]
pub enum ChildWorkflow {
    /// A published workflow.
    Published(WorkflowRef),
    /// A workflow that a step has made: a map, or the text of one.
    Made(Template),
}

/// What becomes of a run when the step that wants it is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnParentCancel {
    /// It is cancelled, too. The default.
    #[default]
    Cancel,
    /// It goes on by itself.
    Leave,
}

/// Reads `workflow: acme/reserve@^1`, `{ref: acme/reserve@^1, onParentCancel: leave}` or
/// `{from: ${ steps.plan.output }, allow: ["tool:*"]}`.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> (Verb, BTreeSet<u32>) {
    let with = match step.get("with") {
        Some((doc, path)) => compile(doc, &path, names, shared, faults),
        None => Template::literal(Value::map::<Arc<str>>([])),
    };
    let mut reads = with.reads.clone();
    let mut child = Child {
        workflow: ChildWorkflow::Made(Template::literal(Value::Null)),
        with,
        on_parent_cancel: OnParentCancel::Cancel,
        allow: None,
    };
    if doc.as_str().is_some() {
        child.workflow = published(doc, path, shared, faults).unwrap_or(child.workflow);
        return (Verb::Workflow(Box::new(child)), reads);
    }
    let mut fields = Fields::of(doc, path, faults);
    let (reference, from, allow) = (fields.get("ref"), fields.get("from"), fields.get("allow"));
    let words = &[("cancel", OnParentCancel::Cancel), ("leave", OnParentCancel::Leave)];
    child.on_parent_cancel = policy::word(&mut fields, "onParentCancel", words, faults).unwrap_or_default();
    fields.finish(faults);
    if let (Some(_), Some((at, path))) = (&reference, &allow) {
        faults.at(at, path, "only a workflow that is made (`from`) is told what it may call");
    }
    child.allow = allow.map(|(doc, path)| patterns(doc, &path, faults));
    match (reference, from) {
        (Some((doc, path)), None) => {
            child.workflow = published(doc, &path, shared, faults).unwrap_or(child.workflow);
        }
        (None, Some((doc, path))) => {
            let made = compile(doc, &path, names, shared, faults);
            if made.constant().is_some() {
                faults.at(doc, &path, "a workflow that is written out is no workflow that is made: publish it, and name it with `ref`");
            }
            reads.extend(made.reads.iter().copied());
            child.workflow = ChildWorkflow::Made(made);
        }
        _ => faults.at(doc, path, "wants exactly one of `ref: namespace/name@range` and `from: ${ ... }`"),
    }
    (Verb::Workflow(Box::new(child)), reads)
}

fn published(doc: &Doc, path: &str, shared: &Shared<'_>, faults: &mut Faults) -> Option<ChildWorkflow> {
    let reference = match doc.as_str() {
        None => Err(format!("wants `namespace/name@range`, and this is {}", doc.kind())),
        Some(text) => WorkflowRef::parse(text).map_err(|fault| fault.to_string()),
    };
    let reference = reference.map_err(|message| faults.at(doc, path, message)).ok()?;
    if let Some(why) = shared.catalog.and_then(|catalog| catalog.lacks_workflow(&reference)) {
        faults.at(doc, path, why);
    }
    Some(ChildWorkflow::Published(reference))
}

/// What a workflow may call, as a list of patterns.
fn patterns(doc: &Doc, path: &str, faults: &mut Faults) -> Vec<Arc<str>> {
    let Part::List(items) = &doc.part else {
        let message =
            format!("wants a list such as `[tool:search, \"transform:*\"]`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return Vec::new();
    };
    let fits = |text: &&str| is_pattern(text);
    let mut found = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.as_str().filter(fits) {
            Some(text) => found.push(text.into()),
            None => faults.at(item, &pointer(path, &at.to_string()), "wants `kind:name` or `kind:*`"),
        }
    }
    found
}

/// Whether one of these patterns means the plugin `kind:name`, or covers the pattern `kind:*`.
fn covers(patterns: &[Arc<str>], asked: &str) -> bool {
    patterns.iter().any(|known| pattern_has(known, asked))
}

impl Plan {
    /// What a step runs, in the words of the document: a plugin's reference, or `workflow:namespace/name@range`.
    pub fn runs(&self, step: u32) -> Option<String> {
        match &self.steps.get(step as usize)?.verb {
            Verb::Call { call, .. } => self.calls.get(*call).map(ToString::to_string),
            Verb::Workflow(child) => Some(match &child.workflow {
                ChildWorkflow::Published(reference) => format!("workflow:{reference}"),
                ChildWorkflow::Made(_) => "workflow:from".to_owned(),
            }),
            Verb::Set(_) | Verb::Wait(_) | Verb::Approval(_) | Verb::Emit(_) | Verb::Group(_) => None,
        }
    }
    /// Everything that a run of this may call, as patterns: its own calls, what its agents may use, and what it lets
    /// workflows call that it makes.
    pub fn may_call(&self) -> Vec<Arc<str>> {
        let calls = self.calls.iter().map(|call| call.pattern().into());
        let tools = self.steps.iter().flat_map(|step| step.tools.iter().cloned());
        let made = self.steps.iter().filter_map(|step| match &step.verb {
            Verb::Workflow(child) => child.allow.clone(),
            _ => None,
        });
        let mut all: Vec<Arc<str>> = calls.chain(tools).chain(made.flatten()).collect();
        all.sort();
        all.dedup();
        all
    }
    /// What of [`Plan::may_call`] these patterns do not cover.
    pub fn beyond(&self, patterns: &[Arc<str>]) -> Vec<Arc<str>> {
        self.may_call().into_iter().filter(|asked| !covers(patterns, asked)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_names_and_narrower_patterns() {
        let allowed: Vec<Arc<str>> = vec!["tool:search".into(), "transform:*".into()];
        for asked in ["tool:search", "transform:jq", "transform:*"] {
            assert!(covers(&allowed, asked), "{asked}");
        }
        for asked in ["tool:*", "tool:pay", "agent:search", "agent:*"] {
            assert!(!covers(&allowed, asked), "{asked}");
        }
    }
}
