//! What is done without a model: the tool that has most words in common with the goal, given what it needs by name.

use heddle_sdk::{ToolInfo, serde_json};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The tool, and its input; nothing where no tool, or more than one, fits.
pub(crate) fn choose<'a>(
    goal: &str,
    given: &Map<String, Value>,
    tools: &'a [ToolInfo],
) -> Option<(&'a ToolInfo, Value)> {
    let wanted = words(goal);
    let mut fitting: Vec<(usize, &ToolInfo, Value)> = tools
        .iter()
        .filter_map(|tool| {
            let name = tool.name.split_once(':').map_or(&*tool.name, |(_, name)| name);
            // A word of its name says more than one of its description.
            let named = words(name).intersection(&wanted).count() * 2;
            let described =
                words(&format!("{} {}", tool.title, tool.description)).intersection(&wanted).count();
            (named + described > 1).then_some(())?;
            Some((named + described, tool, input_of(tool, goal, given)?))
        })
        .collect();
    fitting.sort_by_key(|(score, tool, _)| (std::cmp::Reverse(*score), tool.name.clone()));
    let mut best = fitting.into_iter();
    let (score, tool, input) = best.next()?;
    match best.next() {
        Some((other, ..)) if other == score => None,
        _ => Some((tool, input)),
    }
}

/// What a tool needs, by name: what is given, and the goal itself where one text is all that is wanted.
fn input_of(tool: &ToolInfo, goal: &str, given: &Map<String, Value>) -> Option<Value> {
    let Some(properties) = tool.input_schema.get("properties").and_then(Value::as_object) else {
        return Some(Value::Object(given.clone()));
    };
    let required: Vec<&str> = tool
        .input_schema
        .get("required")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut input: Map<String, Value> = given
        .iter()
        .filter(|(name, _)| properties.contains_key(*name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let missing: Vec<&str> = required.into_iter().filter(|name| !input.contains_key(*name)).collect();
    match missing.as_slice() {
        [] => {}
        [one] if properties.get(*one)?.get("type")? == "string" => {
            input.insert((*one).to_owned(), goal.into());
        }
        _ => return None,
    }
    Some(Value::Object(input))
}

/// The words of a text that say something.
fn words(text: &str) -> BTreeSet<String> {
    const SMALL: &[&str] = &["the", "and", "for", "with", "that", "this", "from", "into", "all", "its"];
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| word.len() > 2 && !SMALL.contains(&&**word))
        .collect()
}
