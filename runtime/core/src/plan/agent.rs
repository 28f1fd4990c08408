//! `agent`: an agent with its goal and what it may call, in one place. A `call` of the agent in other words.

use super::Verb;
use super::call;
use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part};
use crate::expr::{Names, Template};
use crate::limits::Limits;
use crate::outcome::PluginKind;
use crate::value::Value;
use std::collections::BTreeSet;

/// How far an agent may go, where its step says less than the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentBudget {
    /// Calls of a model.
    pub turns: Option<u64>,
    /// Tokens, read and written.
    pub tokens: Option<u64>,
    /// Millionths of the operator's currency.
    pub cost_micros: Option<u64>,
}

/// Reads `maxTurns` and `budget: {tokens, cost}` of an `agent`.
pub(super) fn budget(step: &mut Fields<'_>, limits: &Limits, faults: &mut Faults) -> AgentBudget {
    let Some((doc, path)) = step.get("agent").filter(|(doc, _)| matches!(doc.part, Part::Map(_))) else {
        return AgentBudget::default();
    };
    let mut agent = Fields::of(doc, &path, faults);
    let turns = agent.count("maxTurns", limits.model_calls, faults).map(u64::from);
    let Some((doc, path)) = agent.get("budget") else {
        return AgentBudget { turns, ..AgentBudget::default() };
    };
    let mut budget = Fields::of(doc, &path, faults);
    let tokens = budget.count("tokens", limits.agent_tokens, faults).map(u64::from);
    let cost_micros = budget.get("cost").and_then(|(doc, path)| money(doc, &path, limits, faults));
    budget.finish(faults);
    AgentBudget { turns, tokens, cost_micros }
}

/// An amount of the operator's currency, such as `0.25`, in millionths.
fn money(doc: &Doc, path: &str, limits: &Limits, faults: &mut Faults) -> Option<u64> {
    let amount = match &doc.part {
        Part::Scalar(Value::Int(whole)) => Some(*whole as f64),
        Part::Scalar(number @ Value::Number(_)) => {
            let mut text = String::new();
            number.write_json(&mut text);
            text.parse().ok()
        }
        _ => None,
    };
    let micros = amount.map(|amount: f64| amount * 1e6).filter(|micros| *micros >= 1.0);
    let most = limits.agent_cost_micros;
    let micros = micros.filter(|micros| *micros <= most as f64).map(|micros| micros.round() as u64);
    if micros.is_none() {
        let most = most as f64 / 1e6;
        faults.at(
            doc,
            path,
            format!("wants an amount such as `0.25`, at most {most} (`limits.agent_cost_micros`)"),
        );
    }
    micros
}

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
    for key in ["tools", "maxTurns", "budget"] {
        fields.get(key);
    }
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
