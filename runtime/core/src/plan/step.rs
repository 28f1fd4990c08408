//! One step of the document.

use super::parts::Entry;
use super::policy::{self, CachePolicy, Retry, Timeouts};
use super::walk::{Faults, Fields};
use super::{
    Alternative, Catalog, Dependency, Ending, OnCrash, Part, Step, Verb, agent, approval, ask, call, child,
    emit, fallback, gates, graph, group, map, narrow, wait,
};
use crate::document::{Doc, pointer};
use crate::expr::{Names, Template};
use crate::json::Json;
use crate::limits::{AskedLimits, Limits};
use crate::outcome::PluginKind;
use crate::route::Callee;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What every step of a workflow shares.
pub(super) struct Shared<'a> {
    pub(super) ids: &'a [String],
    /// The id of each, and of the group that it stands in.
    pub(super) entries: Vec<(String, Option<String>)>,
    /// The part of each.
    pub(super) parts: Vec<Part>,
    pub(super) names: Names,
    pub(super) limits: &'a Limits,
    pub(super) catalog: Option<&'a dyn Catalog>,
    pub(super) retries: BTreeMap<String, Retry>,
    pub(super) default_retry: Option<Retry>,
    pub(super) default_timeouts: Timeouts,
    pub(super) default_limits: AskedLimits,
    /// The secrets that the workflow uses at all, where it says so.
    pub(super) secrets: Option<BTreeSet<Arc<str>>>,
    pub(super) calls: Vec<Callee>,
}

/// Reads one step.
pub(super) fn read(index: usize, entry: &Entry<'_>, shared: &mut Shared<'_>, faults: &mut Faults) -> Step {
    let mut fields = Fields::of(entry.doc, &entry.path, faults);
    faults.reads.clear();
    let title = words(&mut fields, faults);
    let depends: Vec<Dependency> = match fields.get("dependsOn") {
        Some((doc, path)) => graph::read(doc, &path, &beside(entry, shared), faults),
        None => Vec::new(),
    };
    // What it undoes has an output, and so has what it wants to have succeeded.
    let sure = depends.iter().filter(|d| d.accepts == [Ending::Succeeded]).map(|d| d.step);
    shared.names.proven = sure.chain(entry.undoes).collect();
    let when = fields
        .get("when")
        .and_then(|(doc, path)| policy::condition(doc, &path, &shared.names, shared.limits, faults));
    let mut reads: BTreeSet<u32> = when.iter().flat_map(|e| e.reads.iter().copied()).collect();
    shared.names.proven.extend(when.iter().flat_map(|when| when.proves()));
    let (map, names) = match fields.get("forEach") {
        Some((doc, path)) => map::read(doc, &path, shared, faults),
        None => (None, shared.names.clone()),
    };
    let lists = map.iter().flat_map(|m| [Some(&m.list), m.lists.within.as_ref()]).flatten();
    reads.extend(lists.flat_map(|list| list.reads.iter().copied()));
    let (verb, kind, verb_reads) = verb(&mut fields, &entry.id, &names, shared, faults);
    reads.extend(verb_reads);
    nothing_of_calls(&mut fields, &verb, faults);
    let fallback = alternatives(&mut fields, (&verb, kind), &names, shared, faults);
    reads.extend(fallback.iter().flat_map(|alternative| alternative.reads()));
    let gates = gates::read(&mut fields, !fallback.is_empty(), &names, shared, faults);
    reads.extend(gates.iter().flat_map(|gates| gates.reads()));
    let own_retry = fields.get("retry").map(|(doc, path)| retry(doc, &path, shared, faults));
    let retry = own_retry.unwrap_or_else(|| shared.default_retry.clone());
    reads.extend(retry.iter().filter_map(|r| r.when.as_ref()).flat_map(|e| e.reads.iter().copied()));
    let (timeouts, cache, limits, tools, budget) = policies(&mut fields, kind, shared, faults);
    let timeouts = group_time(&mut fields, &verb, faults).unwrap_or(timeouts);
    let narrowing = narrow::read(&mut fields, &callees(&verb, &fallback, shared), shared, faults);
    let (on_failure, skippable) = ask::read(&mut fields, &verb, timeouts.total, faults);
    let (on_crash, breakpoint, hint) = care(&mut fields, entry, kind, faults);
    fields.finish(faults);
    shared.names.proven.clear();
    reads.append(&mut faults.reads);
    Step {
        number: index as u32,
        id: shared.ids[index].as_str().into(),
        title,
        depends,
        when,
        verb,
        map,
        retry,
        timeouts,
        cache,
        limits,
        narrowing,
        tools,
        budget,
        reads,
        part: entry.part,
        group: None,
        conditional: false,
        undoes: entry.undoes,
        compensation: None,
        hint,
        on_crash,
        fallback,
        breakpoint,
        gates,
        on_failure,
        skippable,
    }
}

/// A group has one time, for all that is in it; however it is written.
fn group_time(fields: &mut Fields<'_>, verb: &Verb, faults: &mut Faults) -> Option<Timeouts> {
    let Verb::Group(_) = verb else { return None };
    let own = fields.get("timeout").map(|(doc, path)| {
        let own = Timeouts::read(doc, &path, Timeouts::default(), &mut Faults::default());
        if own.queue.is_some() {
            faults.at(
                doc,
                &path,
                "a group waits for no sandbox: it has one time, `timeout: 30s`, for all that is in it",
            );
        }
        own
    });
    Some(Timeouts { total: own.and_then(|own| own.total.or(own.run)), ..Timeouts::default() })
}

/// What only a call has.
const OF_CALLS: &[&str] =
    &["cache", "limits", "tools", "onCrash", "rateLimit", "circuitBreaker", "secrets", "grants"];

/// Refuses what only a call can have where nothing is called.
fn nothing_of_calls(fields: &mut Fields<'_>, verb: &Verb, faults: &mut Faults) {
    let more: &[&'static str] = match verb {
        Verb::Approval(_) | Verb::Wait(_) | Verb::Emit(_) | Verb::Group(_) => &["retry"],
        Verb::Workflow(_) => &[],
        Verb::Set(_) if fields.get("set").is_some() => &["with"],
        // A call that could not be read stands here as an empty `set`.
        Verb::Call { .. } | Verb::Set(_) => return,
    };
    for key in OF_CALLS.iter().chain(more).copied() {
        if let Some((doc, path)) = fields.get(key) {
            let message = format!("`{key}` means nothing on a step that calls nothing; leave it out");
            faults.at(doc, &path, message);
        }
    }
}

/// What is tried instead.
fn alternatives(
    fields: &mut Fields<'_>,
    (verb, kind): (&Verb, PluginKind),
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Vec<Alternative> {
    match (fields.get("fallback"), verb) {
        (None, _) => Vec::new(),
        (Some(at), Verb::Call { with, .. }) => fallback::read(at, (kind, with), names, shared, faults),
        (Some((doc, path)), _) => {
            faults.at(doc, &path, "only a `call` has a `fallback`");
            Vec::new()
        }
    }
}

/// Its title. What describes it is for people, and only has to be text.
fn words(fields: &mut Fields<'_>, faults: &mut Faults) -> Arc<str> {
    fields.text("description", faults);
    fields.text("title", faults).unwrap_or_default().into()
}

/// What a step says about time, cache, limits, tools and how far an agent may go.
fn policies(
    fields: &mut Fields<'_>,
    kind: PluginKind,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> (Timeouts, CachePolicy, AskedLimits, Vec<Arc<str>>, agent::AgentBudget) {
    let timeouts = match fields.get("timeout") {
        Some((doc, path)) => {
            if let (Some(beat), true) = (doc.get("heartbeat"), kind.is_pure() || !calls(fields)) {
                let message = "only a tool or an agent reports progress, and nothing else has a heartbeat";
                faults.at(beat, &pointer(&path, "heartbeat"), message);
            }
            Timeouts::read(doc, &path, shared.default_timeouts, faults)
        }
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
    let with_agent =
        fields.get("agent").and_then(|(agent, path)| Some((agent.get("tools")?, pointer(&path, "tools"))));
    let tools = match with_agent.or(fields.get("tools")) {
        Some((doc, path)) => call::tools(doc, &path, kind, shared, faults),
        None => Vec::new(),
    };
    let budget = agent::budget(fields, shared.limits, faults);
    (timeouts, cache, limits, tools, budget)
}

/// Whom it calls, with whom it calls instead.
fn callees<'a>(verb: &Verb, fallback: &[Alternative], shared: &'a Shared<'_>) -> Vec<&'a Callee> {
    let own = match verb {
        Verb::Call { call, .. } => Some(*call),
        _ => None,
    };
    let others = fallback.iter().filter_map(|alternative| match alternative {
        Alternative::Call { call, .. } => Some(*call),
        Alternative::Value(_) => None,
    });
    own.into_iter().chain(others).filter_map(|call| shared.calls.get(call)).collect()
}

/// Whether the step calls a plugin, whichever way it says so.
fn calls(fields: &mut Fields<'_>) -> bool {
    fields.get("call").or(fields.get("agent")).is_some()
}

/// What a step says about crashes, about people who look at it, and about being undone.
fn care(
    fields: &mut Fields<'_>,
    entry: &Entry<'_>,
    kind: PluginKind,
    faults: &mut Faults,
) -> (OnCrash, bool, Option<Json>) {
    let words = &[("retry", OnCrash::Retry), ("fail", OnCrash::Fail)];
    let on_crash = policy::word(fields, "onCrash", words, faults).unwrap_or_default();
    let breakpoint = fields.flag("breakpoint", faults).unwrap_or(false);
    if let (Some((doc, path)), true) = (fields.get("compensate"), entry.part != Part::Main) {
        faults.at(doc, &path, "what runs after the steps is not undone; only a step of `steps` is");
    } else if kind.is_pure() && entry.doc.get("call").is_some() && entry.doc.get("compensate").is_some() {
        faults.at(entry.doc, &entry.path, "a transform has no effect that could be undone");
    }
    let hint = match entry.part {
        Part::Compensate => fields.get("hint").map(|(doc, path)| hint(doc, &path, faults)),
        _ => None,
    };
    if entry.part == Part::Compensate
        && let Some((doc, path)) = fields.get("dependsOn")
    {
        faults.at(doc, &path, "steps are undone one at a time, the last that succeeded first");
    }
    (on_crash, breakpoint, hint)
}

/// `hint: {text, link, command}`, or just the text.
fn hint(doc: &Doc, path: &str, faults: &mut Faults) -> Json {
    if let Some(text) = doc.as_str() {
        return Json::from_value(Value::map([("text", Value::text(text))]));
    }
    let mut fields = Fields::of(doc, path, faults);
    for key in ["text", "link", "command"] {
        fields.text(key, faults);
    }
    fields.finish(faults);
    Json::from_value(doc.value())
}

/// The steps that this one may wait for, by their place in the plan; the others have no name here.
fn beside(entry: &Entry<'_>, shared: &Shared<'_>) -> Vec<String> {
    let names = shared.names.steps.iter().zip(&shared.parts);
    names.map(|(name, part)| if *part == entry.part { name.clone() } else { String::new() }).collect()
}

/// Reports a second verb.
fn one_verb(given: [(&str, bool); 8], (doc, path): (&Doc, &str), faults: &mut Faults) {
    let verbs: Vec<&str> = given.iter().filter_map(|(verb, given)| given.then_some(*verb)).collect();
    if let [first, .., last] = verbs.as_slice() {
        let message =
            format!("a step has one verb, and this one has both `{first}` and `{last}`; make it two steps");
        faults.at(doc, path, message);
    }
}

/// Reads a template.
pub(super) fn compile(
    doc: &Doc,
    path: &str,
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Template {
    let mut found = Vec::new();
    let template = Template::compile(doc, path, names, shared.limits, &mut found);
    faults.list.extend(found);
    template
}

/// Exactly one verb.
fn verb(
    fields: &mut Fields<'_>,
    id: &str,
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> (Verb, PluginKind, BTreeSet<u32>) {
    let (doc, path) = (fields.doc, fields.path.clone());
    let (call, set, with) = (fields.get("call"), fields.get("set"), fields.get("with"));
    let wait = fields.get("wait");
    let (approval, workflow) = (fields.get("approval"), fields.get("workflow"));
    let (emit, parallel) = (fields.get("emit"), fields.get("parallel"));
    let agent = fields.get("agent");
    let given = [
        ("call", call.is_some()),
        ("agent", agent.is_some()),
        ("set", set.is_some()),
        ("wait", wait.is_some()),
        ("approval", approval.is_some()),
        ("workflow", workflow.is_some()),
        ("emit", emit.is_some()),
        ("parallel", parallel.is_some()),
    ];
    one_verb(given, (doc, &path), faults);
    if let Some((doc, path)) = approval {
        let approval = approval::read(fields, (doc, &path), shared, faults);
        return (Verb::Approval(Box::new(approval)), PluginKind::Transform, BTreeSet::new());
    }
    if let Some((parallel, path)) = parallel {
        let verb = group::read(fields, (parallel, &path), (id, &shared.entries), faults);
        return (verb, PluginKind::Transform, BTreeSet::new());
    }
    if let Some((emit, path)) = emit {
        let emit = emit::read(fields, (emit, &path), names, shared, faults);
        let reads = emit.data.reads.clone();
        return (Verb::Emit(emit), PluginKind::Transform, reads);
    }
    if let Some((workflow, path)) = workflow {
        let (verb, reads) = child::read(fields, (workflow, &path), names, shared, faults);
        return (verb, PluginKind::Tool, reads);
    }
    if let Some((wait, path)) = wait {
        let (wait, reads) = wait::read(fields, (wait, &path), names, shared, faults);
        return (Verb::Wait(wait), PluginKind::Transform, reads);
    }
    if let Some((doc, path)) = set {
        let template = compile(doc, &path, names, shared, faults);
        let reads = template.reads.clone();
        return (Verb::Set(template), PluginKind::Transform, reads);
    }
    if let Some((agent, path)) = agent {
        let (verb, reads) = agent::read(fields, (agent, &path), names, shared, faults);
        return (verb, PluginKind::Agent, reads);
    }
    call::called(call, with, (doc, &path), names, shared, faults)
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
