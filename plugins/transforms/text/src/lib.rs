//! A transform for first steps: what every operation does can be seen at a glance, and a chain of steps that each
//! do one of them shows how a workflow hands values on.

use heddle_sdk::prelude::*;

/// The longest text that an operation may produce, so that `repeat` ends in a clear failure and not at a limit.
const OUTPUT_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What to change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text to start from.
    text: String,
    /// Applied in this order.
    #[serde(default)]
    operations: Vec<Operation>,
}

/// One change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
enum Operation {
    /// Upper case.
    Upper,
    /// Lower case.
    Lower,
    /// White space removed at both ends.
    Trim,
    /// The characters in the opposite order.
    Reverse,
    /// Puts `text` before.
    Prepend { text: String },
    /// Puts `text` after.
    Append { text: String },
    /// Puts `to` wherever `from` stands.
    Replace { from: String, to: String },
    /// Keeps the first `count` characters.
    Take { count: usize },
    /// Writes the text `count` times.
    Repeat { count: usize },
}

/// The changed text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The text after the last operation.
    text: String,
    /// Its length in characters.
    characters: usize,
    /// Its length in words, as separated by white space.
    words: usize,
}

/// Change text.
///
/// Applies a list of operations to a text, in order: upper, lower, trim, reverse, prepend, append, replace, take, repeat.
#[heddle_sdk::transform]
fn text(input: Input) -> Result<Output, Failure> {
    let text = input.operations.iter().try_fold(input.text, |text, operation| apply(operation, &text))?;
    Ok(Output { characters: text.chars().count(), words: text.split_whitespace().count(), text })
}

fn apply(operation: &Operation, text: &str) -> Result<String, Failure> {
    Ok(match operation {
        Operation::Upper => text.to_uppercase(),
        Operation::Lower => text.to_lowercase(),
        Operation::Trim => text.trim().to_owned(),
        Operation::Reverse => text.chars().rev().collect(),
        Operation::Prepend { text: before } => format!("{before}{text}"),
        Operation::Append { text: after } => format!("{text}{after}"),
        Operation::Replace { from, .. } if from.is_empty() => {
            return Err(Failure::permanent(
                "empty_from",
                "`from` of a replace is empty; say what to replace",
            ));
        }
        Operation::Replace { from, to } => {
            fits(text.len() + text.matches(from.as_str()).count().saturating_mul(to.len()))?;
            text.replace(from, to)
        }
        Operation::Take { count } => text.chars().take(*count).collect(),
        Operation::Repeat { count } => {
            fits(text.len().saturating_mul(*count))?;
            text.repeat(*count)
        }
    })
}

fn fits(bytes: usize) -> Result<(), Failure> {
    if bytes <= OUTPUT_MAX_BYTES {
        return Ok(());
    }
    let message =
        format!("the text would grow to {bytes} bytes, over {OUTPUT_MAX_BYTES}; repeat or replace less");
    Err(Failure::permanent("text_too_long", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<Output, Failure> {
        text(serde_json_from(input))
    }

    fn serde_json_from(input: Value) -> Input {
        heddle_sdk::serde_json::from_value(input).expect("an input")
    }

    #[test]
    fn operations_apply_in_order() {
        let output = run(json!({ "text": " ab ", "operations": [
            { "op": "trim" }, { "op": "upper" }, { "op": "append", "text": "-" }, { "op": "repeat", "count": 2 },
            { "op": "replace", "from": "B", "to": "ß" }, { "op": "reverse" }, { "op": "take", "count": 3 }
        ] }));
        assert_eq!(output, Ok(Output { text: "-ßA".into(), characters: 3, words: 1 }));
    }

    #[test]
    fn growth_is_refused_before_it_happens() {
        let failure = run(json!({ "text": "xy", "operations": [{ "op": "repeat", "count": usize::MAX }] }));
        assert_eq!(failure.expect_err("too long").code(), "text_too_long");
        let empty = run(json!({ "text": "x", "operations": [{ "op": "replace", "from": "", "to": "y" }] }));
        assert_eq!(empty.expect_err("nothing to replace").code(), "empty_from");
    }

    #[test]
    fn unknown_operations_do_not_fit() {
        let failure = heddle_sdk::run!(r#"{"text":"a","operations":[{"op":"shout"}]}"#);
        assert_eq!(failure.expect_err("unknown").code(), "invalid_input");
    }
}
