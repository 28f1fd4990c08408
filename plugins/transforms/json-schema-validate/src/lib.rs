//! Whether a value is as a schema says: for values that come from outside, and whose schema is known at run time only.
//! What a plugin takes is checked by the host anyway.

use heddle_sdk::prelude::*;

/// What does not fit is told at most so often.
const MOST_FAULTS: usize = 100;
/// The longest message: the library puts whole values into them.
const MESSAGE_CHARACTERS: usize = 300;

/// What is checked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// JSON Schema; 2020-12, unless it says another draft. It refers to nothing outside itself.
    schema: Value,
    /// The value.
    value: Value,
    /// Whether a value that does not fit fails the step.
    #[serde(default)]
    fail: bool,
}

/// Whether it fits.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// Whether it does.
    valid: bool,
    /// Where not, and why.
    faults: Vec<Fault>,
}

/// A place that does not fit.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Fault {
    /// JSON pointer into the value; empty for all of it.
    pointer: String,
    /// Why.
    message: String,
    /// JSON pointer into the schema: the rule.
    rule: String,
}

/// JSON Schema validation.
///
/// Checks a value against a JSON Schema, and tells every place that does not fit.
#[heddle_sdk::transform(name = "json-schema-validate", provides = ["json.validate"])]
fn json_schema_validate(input: Input) -> Result<Output, Failure> {
    let validator = jsonschema::validator_for(&input.schema);
    let validator = validator.map_err(|fault| Failure::permanent("bad_schema", cut(&fault.to_string())))?;
    let faults: Vec<Fault> = validator
        .iter_errors(&input.value)
        .take(MOST_FAULTS)
        .map(|fault| Fault {
            pointer: fault.instance_path().to_string(),
            message: cut(&fault.to_string()),
            rule: fault.schema_path().to_string(),
        })
        .collect();
    match faults.first() {
        Some(first) if input.fail => {
            let at = if first.pointer.is_empty() { "/" } else { &first.pointer };
            let message = format!("at `{at}`: {}", first.message);
            Err(Failure::permanent("does_not_fit", message).with_data(json!({ "faults": faults })))
        }
        _ => Ok(Output { valid: faults.is_empty(), faults }),
    }
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(schema: Value, value: Value, fail: bool) -> Result<Output, Failure> {
        json_schema_validate(Input { schema, value, fail })
    }

    #[test]
    fn every_place_is_told() {
        let schema = json!({ "type": "object", "required": ["a"], "properties": { "n": { "minimum": 3 } } });
        assert!(run(schema.clone(), json!({ "a": 1, "n": 3 }), true).expect("it fits").valid);
        let output = run(schema.clone(), json!({ "n": 1 }), false).expect("faults");
        assert_eq!((output.valid, output.faults.len()), (false, 2));
        assert!(
            output.faults.iter().any(|fault| fault.pointer == "/n" && fault.rule == "/properties/n/minimum"),
            "{output:?}"
        );
        let failure = run(schema, json!({ "n": 1 }), true).expect_err("it does not fit");
        assert_eq!(failure.code(), "does_not_fit");
        assert_eq!(
            run(json!({ "type": "nothing" }), json!(1), false).expect_err("no schema").code(),
            "bad_schema"
        );
    }

    #[test]
    fn nothing_is_fetched() {
        let failure =
            run(json!({ "$ref": "https://a.example/schema.json" }), json!(1), false).expect_err("outside");
        assert_eq!(failure.code(), "bad_schema");
    }
}
