//! `agent`: an agent with its goal and what it may call, in one place. A `call` of the agent in other words.

use super::Verb;
use super::call;
use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part};
use crate::expr::{Names, Template};
use crate::outcome::PluginKind;
use crate::value::Value;
use std::collections::BTreeSet;

/// The agent that the map means: its kind may be left out.
pub(super) fn named(agent: &Doc) -> Option<Doc> {
    let used = agent.get("use")?;
    let part = match used.as_str() {
        Some(name) if !name.contains(':') => {
            Part::Scalar(Value::text(format!("{}:{name}", PluginKind::Agent.word())))
        }
        _ => used.part.clone(),
    };
    Some(Doc { place: used.place, part })
}

/// Reads `agent: {use: agent:triage@1, goal: ..., tools: [...]}`. Its tools are read with the step's policies.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> (Verb, BTreeSet<u32>) {
    for (key, why) in [
        ("with", "an agent's input is its goal; write it under `agent.goal`"),
        ("tools", "what an agent may call stands with it; write it under `agent.tools`"),
    ] {
        if let Some((doc, path)) = step.get(key) {
            faults.at(doc, &path, why);
        }
    }
    let mut fields = Fields::of(doc, path, faults);
    let (used, goal) = (fields.need("use", faults), fields.need("goal", faults));
    fields.get("tools");
    fields.finish(faults);
    let nothing = (Verb::Set(Template::literal(Value::Null)), BTreeSet::new());
    let (Some((_, use_path)), Some((goal_doc, goal_path)), Some(agent)) = (used, goal, named(doc)) else {
        return nothing;
    };
    let goal = compile(goal_doc, &goal_path, names, shared, faults);
    let reads = goal.reads.clone();
    let at = Some((goal_doc, goal_path.as_str()));
    match call::resolve((&agent, &use_path), PluginKind::Agent, at, &goal, shared, faults) {
        Some((call, PluginKind::Agent)) => (Verb::Call { call, with: goal }, reads),
        Some((_, kind)) => {
            let message = format!("a {} is no agent; write `call: {}:...` for it", kind.word(), kind.word());
            faults.at(&agent, &use_path, message);
            nothing
        }
        None => nothing,
    }
}
