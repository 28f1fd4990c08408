//! jq as a step: for the reshaping that an expression of a workflow would be too long for. The interpreter is jaq, which
//! knows jq's language but for `input`, `$__loc__` and modules.

use heddle_sdk::prelude::*;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, compile, data};
use jaq_json::{Val, read};

/// Values that one call gives at most.
const MOST_VALUES: usize = 10_000;

/// What is run over what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The program: `.items | map(select(.n > $vars.least)) | length`.
    program: String,
    /// What it is run over.
    value: Json,
    /// What `$vars` is.
    #[serde(default)]
    vars: Option<Json>,
}

/// What came out.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// The first value; null where there is none.
    value: Json,
    /// Every value, in their order.
    values: Vec<Json>,
}

/// jq.
///
/// Runs a jq program over a value and gives what comes out: the first value, and all of them.
#[heddle_sdk::transform(provides = ["json.query"])]
fn jq(input: Input) -> Result<Output, Failure> {
    let read = |json: &Json| {
        read::parse_single(json.text().as_bytes())
            .map_err(|fault| Failure::permanent("bad_json", fault.to_string()))
    };
    let value = read(&input.value)?;
    let vars = input.vars.as_ref().map_or(Ok(Val::Null), read)?;
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code: input.program.as_str(), path: () });
    let modules = modules.map_err(|faults| Failure::permanent("bad_program", unread(&faults)))?;
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let filter = Compiler::default().with_funs(funs).with_global_vars(["$vars"]).compile(modules);
    let filter = filter.map_err(|faults| Failure::permanent("bad_program", undefined(&faults)))?;
    let ctx = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([vars]));
    let mut values = Vec::new();
    for value in filter.id.run((ctx, value)) {
        let value = match value {
            Ok(value) => value,
            Err(thrown) => match thrown.get_err() {
                Ok(fault) => return Err(Failure::permanent("jq_error", fault.to_string())),
                // `halt` ends the program; with a word of failure, the step.
                Err(thrown) => match thrown.get_halt() {
                    Ok(0) => break,
                    code => {
                        let code = code.unwrap_or(1);
                        return Err(Failure::permanent("jq_halt", format!("the program halted with {code}")));
                    }
                },
            },
        };
        if values.len() == MOST_VALUES {
            let message = format!(
                "more than {MOST_VALUES} values; put them into a list, or take fewer: `limit(n; ..)`"
            );
            return Err(Failure::permanent("too_many_values", message));
        }
        let text = value.to_string();
        let json = heddle_sdk::serde_json::from_str(&text);
        values.push(json.map_err(|_| Failure::permanent("no_json", format!("`{text}` is no JSON value")))?);
    }
    let first =
        values.first().cloned().unwrap_or_else(|| heddle_sdk::serde_json::from_str("null").expect("null"));
    Ok(Output { value: first, values })
}

/// Why a program is none.
fn unread(faults: &load::Errors<&str, ()>) -> String {
    let said = faults.iter().flat_map(|(file, fault)| match fault {
        load::Error::Io(faults) => {
            faults.iter().map(|(path, _)| format!("there are no modules here: `{path}`")).collect::<Vec<_>>()
        }
        load::Error::Lex(faults) => {
            faults.iter().map(|(wanted, found)| place(file.code, found, wanted.as_str())).collect()
        }
        load::Error::Parse(faults) => {
            faults.iter().map(|(wanted, found)| place(file.code, found, wanted.as_str())).collect()
        }
    });
    said.collect::<Vec<_>>().join("; ")
}

fn place(code: &str, found: &str, wanted: &str) -> String {
    // What was found is a part of the program.
    let at = (found.as_ptr() as usize).checked_sub(code.as_ptr() as usize).filter(|at| *at <= code.len());
    let at = at.map_or(String::new(), |at| format!("at character {}: ", code[..at].chars().count() + 1));
    let found: String = found.chars().take(20).collect();
    match found.is_empty() {
        true => format!("{at}{wanted} is missing at the end"),
        false => format!("{at}wants {wanted}, and this is `{found}`"),
    }
}

fn undefined(faults: &compile::Errors<&str, ()>) -> String {
    let all = faults.iter().flat_map(|(_, faults)| faults);
    all.map(|(name, what)| format!("there is no {} `{name}`", what.as_str())).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<Value, Failure> {
        let output = jq(heddle_sdk::serde_json::from_value(input).expect("an input"))?;
        Ok(heddle_sdk::serde_json::to_value(output).expect("an output"))
    }

    #[test]
    fn values_are_reshaped() {
        let value = json!({ "items": [{ "n": 1, "name": "a" }, { "n": 5, "name": "b" }] });
        let output = run(
            json!({ "program": ".items[] | select(.n > $vars.least) | .name", "value": value, "vars": { "least": 0 } }),
        );
        assert_eq!(output.expect("values"), json!({ "value": "a", "values": ["a", "b"] }));
        let grouped =
            run(json!({ "program": "[.items[] | {(.name): .n}] | add", "value": value })).expect("a value");
        assert_eq!(grouped["value"], json!({ "a": 1, "b": 5 }));
        assert_eq!(
            run(json!({ "program": "empty", "value": 1 })).expect("nothing"),
            json!({ "value": null, "values": [] })
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let failed = |program: &str| {
            let failure = run(json!({ "program": program, "value": {} })).expect_err("a failure");
            format!("{}: {}", failure.code(), failure.message())
        };
        assert_eq!(failed(".a | nofilter"), "bad_program: there is no filter `nofilter`");
        assert!(
            failed(".a | (").starts_with("bad_program: at character 7: closing parenthesis"),
            "{}",
            failed(".a | (")
        );
        assert!(failed(".a + error(\"x\")").starts_with("jq_error: "), "{}", failed(".a + error(\"x\")"));
        assert!(failed("1, (2 | halt_error)").starts_with("jq_halt: "), "{}", failed("1, (2 | halt_error)"));
        let halted = run(json!({ "program": "1, halt", "value": {} })).expect("what came before");
        assert_eq!(halted["values"], json!([1]));
        assert!(failed("range(20000)").starts_with("too_many_values: "));
    }
}
