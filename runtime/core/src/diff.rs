//! What is different between two versions of a workflow: steps that came, went and changed, and what changed around
//! them, each change with its path and both values. Sources are compared, not plans, so that what is told are the
//! words of the author.

use crate::document::pointer;
use crate::value::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is different between two workflows.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// What differs outside of steps, in the order of the paths.
    pub changes: Vec<Change>,
    /// The steps that differ, in the order of their ids: those of `steps` first, then `onError`, then `finally`.
    pub steps: Vec<StepDifference>,
    /// How many steps are the same.
    pub same: u32,
}

/// A step that differs.
#[derive(Clone, Debug)]
pub struct StepDifference {
    /// Its id in the plan.
    pub step: String,
    /// Where it stands in the document.
    pub path: String,
    /// What became of it.
    pub fate: Fate,
    /// What changed in it; nothing where only one of the two has it.
    pub changes: Vec<Change>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, and not the same.
    Changed,
}

impl Fate {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Added => "added",
            Fate::Removed => "removed",
            Fate::Changed => "changed",
        }
    }
}

/// One place that differs.
#[derive(Clone, Debug)]
pub struct Change {
    /// JSON pointer into the document.
    pub path: String,
    /// What the first has there.
    pub a: Option<Value>,
    /// What the second has there.
    pub b: Option<Value>,
}

/// The sections of a document that have steps: path, and what stands before an id in the plan.
const SECTIONS: [(&[&str], &str); 3] =
    [(&["steps"], ""), (&["onError", "steps"], "onError."), (&["finally"], "finally.")];

/// Compares two workflows by their sources.
pub fn difference(a: &Value, b: &Value) -> Difference {
    let mut found = Difference::default();
    changes((&around(a), &around(b)), "", &mut found.changes);
    for (keys, prefix) in SECTIONS {
        let at = keys.iter().fold(String::new(), |path, key| pointer(&path, key));
        let (before, mut after) = (section(a, keys), section(b, keys));
        let mut steps: BTreeMap<&Arc<str>, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
        for (id, step) in &before {
            steps.insert(id, (Some(step), after.remove(*id)));
        }
        steps.extend(after.into_iter().map(|(id, step)| (id, (None, Some(step)))));
        for (id, sides) in steps {
            let path = pointer(&at, id);
            let (fate, changes) = match sides {
                (Some(a), Some(b)) => (Fate::Changed, changed(a, b, &path)),
                (Some(_), None) => (Fate::Removed, Vec::new()),
                (None, _) => (Fate::Added, Vec::new()),
            };
            match fate == Fate::Changed && changes.is_empty() {
                true => found.same += 1,
                false => {
                    found.steps.push(StepDifference { step: format!("{prefix}{id}"), path, fate, changes })
                }
            }
        }
    }
    found
}

/// What is different between two values that stand at this path.
pub fn changed(a: &Value, b: &Value, path: &str) -> Vec<Change> {
    let mut found = Vec::new();
    changes((a, b), path, &mut found);
    found
}

/// Whether two values are the same document.
pub fn same(a: &Value, b: &Value) -> bool {
    let text = |value: &Value| {
        let mut text = String::new();
        value.write_json(&mut text);
        text
    };
    text(a) == text(b)
}

fn changes((a, b): (&Value, &Value), path: &str, found: &mut Vec<Change>) {
    match (a, b) {
        (Value::Map(before), Value::Map(after)) => {
            for (key, value) in before.iter() {
                let path = pointer(path, key);
                match after.get(key) {
                    Some(other) => changes((value, other), &path, found),
                    None => found.push(Change { path, a: Some(value.clone()), b: None }),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                found.push(Change { path: pointer(path, key), a: None, b: Some(value.clone()) });
            }
        }
        // Of lists as long as each other, their items are compared; others are told as they are.
        (Value::List(before), Value::List(after))
            if before.len() == after.len() && before.iter().any(is_large) =>
        {
            for (at, (value, other)) in before.iter().zip(after.iter()).enumerate() {
                changes((value, other), &pointer(path, &at.to_string()), found);
            }
        }
        _ if same(a, b) => {}
        _ => found.push(Change { path: path.to_owned(), a: Some(a.clone()), b: Some(b.clone()) }),
    }
}

fn is_large(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_))
}

/// The document without its steps.
fn around(source: &Value) -> Value {
    let Value::Map(map) = source else { return source.clone() };
    let mut map: Map = (**map).clone();
    for (keys, _) in SECTIONS {
        match keys {
            [key] => drop(map.remove(*key)),
            [outer, inner] => {
                if let Some(Value::Map(section)) = map.get_mut(*outer) {
                    Arc::make_mut(section).remove(*inner);
                }
            }
            _ => {}
        }
    }
    Value::Map(Arc::new(map))
}

/// The steps of a section, by id.
fn section<'a>(source: &'a Value, keys: &[&str]) -> BTreeMap<&'a Arc<str>, &'a Value> {
    match keys.iter().try_fold(source, |value, key| value.get(key)) {
        Some(Value::Map(map)) => map.iter().collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    fn value(text: &str) -> Value {
        Json::parse(text.as_bytes()).unwrap().value().clone()
    }

    #[test]
    fn steps_and_what_is_around_them() {
        let a = value(
            r#"{"document":{"version":"1.0.0","title":"A"},"maxParallel":2,
                "steps":{"gone":{"set":1},"kept":{"set":{"n":1.50}},"new/er":{"call":"tool:a@^1","with":{"x":1},"dependsOn":["kept"]}},
                "onError":{"compensate":"none","steps":{"tell":{"set":1}}}}"#,
        );
        let b = value(
            r#"{"document":{"version":"1.1.0"},"maxParallel":2,
                "steps":{"kept":{"set":{"n":1.50}},"came":{"set":2},"new/er":{"call":"tool:a@^2","with":{"x":1,"y":null},"dependsOn":["kept","came"]}},
                "onError":{"compensate":"none","steps":{"tell":{"set":2}}},"finally":{"tidy":{"set":0}}}"#,
        );
        let found = difference(&a, &b);
        let text = |value: &Option<Value>| {
            value
                .as_ref()
                .map(|value| Json::from_value(value.clone()).text().to_owned())
                .unwrap_or_else(|| "-".into())
        };
        let told = |changes: &[Change]| {
            changes.iter().map(|c| format!("{} {} {}", c.path, text(&c.a), text(&c.b))).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&found.changes),
            [r#"/document/title "A" -"#, r#"/document/version "1.0.0" "1.1.0""#]
        );
        let steps: Vec<(&str, &str)> = found.steps.iter().map(|s| (s.step.as_str(), s.fate.word())).collect();
        assert_eq!(
            steps,
            [
                ("came", "added"),
                ("gone", "removed"),
                ("new/er", "changed"),
                ("onError.tell", "changed"),
                ("finally.tidy", "added")
            ]
        );
        assert_eq!(
            told(&found.steps[2].changes),
            [
                r#"/steps/new~1er/call "tool:a@^1" "tool:a@^2""#,
                r#"/steps/new~1er/dependsOn ["kept"] ["kept","came"]"#,
                "/steps/new~1er/with/y - null",
            ]
        );
        assert_eq!(found.same, 1);
        assert_eq!(difference(&a, &a).steps.len() + difference(&a, &a).changes.len(), 0);
    }

    #[test]
    fn lists_of_maps_are_compared_item_by_item() {
        let (a, b) = (value(r#"[{"a":1},{"a":2}]"#), value(r#"[{"a":1},{"a":3}]"#));
        assert_eq!(changed(&a, &b, "/x").iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["/x/1/a"]);
        let (a, b) = (value("[1,2]"), value("[1,3]"));
        assert_eq!(changed(&a, &b, "/x").iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["/x"]);
    }
}
