//! The input of a step: what its plugin needs, out of the input of the workflow, the words of the goal, and what the
//! steps before it give.

use serde_json::{Map, Value, json};

use crate::Tool;

/// Names under which a plugin mostly gives what it was called for.
const MAIN: &[&str] = &["text", "summary", "body", "markdown", "html", "value", "output", "result"];

/// Something that a step may be given.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    /// `string`, `array` and so on; empty where nobody says.
    kind: String,
    expression: String,
}

/// What there is so far: the workflow's input, then what each step gives, the latest last.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    input: Vec<Source>,
    steps: Vec<Vec<Source>>,
}

impl Known {
    pub(crate) fn of(input: &Map<String, Value>) -> Known {
        let source = |(name, value): (&String, &Value)| Source {
            name: name.clone(),
            kind: kind_of(value).to_owned(),
            expression: access("input", name),
        };
        Known { input: input.iter().map(source).collect(), steps: Vec::new() }
    }
    /// What a step gives, by its schema.
    pub(crate) fn add(&mut self, id: &str, schema: &Value) {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let source = |(name, schema): (&String, &Value)| Source {
            name: name.clone(),
            kind: type_of(schema).to_owned(),
            expression: access(&format!("steps.{id}.output"), name),
        };
        self.steps.push(properties.iter().map(source).collect());
    }
}

fn access(of: &str, name: &str) -> String {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match is_word {
        true => format!("${{ {of}.{name} }}"),
        false => format!("${{ {of}[{}] }}", Value::from(name)),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    }
}

fn fits(wanted: &str, has: &str) -> bool {
    wanted.is_empty() || has.is_empty() || wanted == has || (wanted == "number" && has == "integer")
}

/// The input of a step; what it needs and nobody has, where that is something.
pub(crate) fn fill(part: &str, tool: &Tool, known: &Known) -> Result<Value, Vec<String>> {
    let properties = tool.input["properties"].as_object().cloned().unwrap_or_default();
    let required: Vec<&str> =
        tool.input["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut with, mut missing) = (Map::new(), Vec::new());
    for (name, schema) in &properties {
        let is_needed = required.contains(&name.as_str());
        let kind = type_of(schema);
        let found = named(name, kind, &known.input)
            .or_else(|| said(part, name, kind))
            .or_else(|| is_needed.then(|| given(name, kind, part, known)).flatten());
        match found {
            Some(value) => drop(with.insert(name.clone(), value)),
            None if is_needed => missing.push(format!("`{name}`")),
            None => {}
        }
    }
    missing.extend(
        required.iter().filter(|name| !properties.contains_key(**name)).map(|name| format!("`{name}`")),
    );
    if missing.is_empty() { Ok(Value::Object(with)) } else { Err(missing) }
}

/// A source of this name.
fn named(name: &str, kind: &str, sources: &[Source]) -> Option<Value> {
    let same = |source: &&Source| source.name == name && fits(kind, &source.kind);
    sources.iter().find(same).map(|source| json!(source.expression))
}

/// What the words of the goal say: an address for what is one, a number beside its name.
fn said(part: &str, name: &str, kind: &str) -> Option<Value> {
    match kind {
        "string" | "" if ["url", "uri", "href", "link"].contains(&name) => {
            let word = part
                .split_whitespace()
                .find(|word| word.starts_with("http://") || word.starts_with("https://"))?;
            literal(word.trim_end_matches(['.', ',', ')', '"']))
        }
        "integer" | "number" => {
            let words: Vec<String> = part
                .split_whitespace()
                .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
                .collect();
            let at = words.iter().position(|word| word == &name.to_lowercase())?;
            let around = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten();
            let number =
                around.filter_map(|place| words.get(place)).find_map(|word| word.parse::<u64>().ok())?;
            Some(json!(number))
        }
        _ => None,
    }
}

/// What the goal puts in quotes, what the step before gives, or the only thing of this kind that comes in.
fn given(name: &str, kind: &str, part: &str, known: &Known) -> Option<Value> {
    let text = kind.is_empty() || kind == "string";
    if let Some(quoted) = quoted(part).filter(|_| text) {
        return literal(&quoted);
    }
    for step in known.steps.iter().rev() {
        if let Some(same) = named(name, kind, step) {
            return Some(same);
        }
        let mut fitting: Vec<&Source> = step.iter().filter(|source| fits(kind, &source.kind)).collect();
        let rank = |source: &Source| MAIN.iter().position(|main| *main == source.name).unwrap_or(MAIN.len());
        fitting.sort_by_key(|source| rank(source));
        if let Some(first) = fitting.first().filter(|_| !kind.is_empty()) {
            return Some(json!(first.expression));
        }
    }
    let mut fitting = known.input.iter().filter(|source| fits(kind, &source.kind));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(json!(only.expression)),
        _ => None,
    }
}

fn quoted(part: &str) -> Option<String> {
    let (_, rest) = part.split_once('"')?;
    rest.split_once('"').map(|(inside, _)| inside.to_owned())
}

/// Words of a goal as they are; never an expression.
fn literal(text: &str) -> Option<Value> {
    (!text.is_empty() && !text.contains("${")).then(|| json!(text))
}
