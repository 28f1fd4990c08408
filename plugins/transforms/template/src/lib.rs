//! Text out of a template: letters, prompts, pages. The language is that of Jinja.

use heddle_sdk::prelude::*;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

/// What is filled with what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The template: `Hello {{ name }}{% if paid %}, thanks{% endif %}.`
    template: String,
    /// What its names mean.
    #[serde(default)]
    values: heddle_sdk::serde_json::Map<String, Value>,
    /// How what is put in is escaped.
    #[serde(default)]
    escape: Escape,
    /// Whether a name that means nothing is empty text. Otherwise it is a failure, which finds a slip of the keyboard.
    #[serde(default)]
    lenient: bool,
}

/// How what is put in is escaped; `{{ x | safe }}` never is.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Escape {
    /// Not at all.
    #[default]
    None,
    /// For HTML.
    Html,
    /// As JSON.
    Json,
}

/// The text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// What came out.
    text: String,
    /// Its characters.
    characters: usize,
}

/// Template.
///
/// Fills a template with values, in the language of Jinja: names, filters, conditions, loops.
#[heddle_sdk::transform(provides = ["text.template"])]
fn template(input: Input) -> Result<Output, Failure> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(match input.lenient {
        true => UndefinedBehavior::Chainable,
        false => UndefinedBehavior::Strict,
    });
    environment.set_auto_escape_callback(move |_| match input.escape {
        Escape::None => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
        Escape::Json => AutoEscape::Json,
    });
    let text = environment.render_named_str("template", &input.template, &input.values);
    let text = text.map_err(|fault| failure(&fault, &input.values))?;
    Ok(Output { characters: text.chars().count(), text })
}

fn failure(fault: &minijinja::Error, values: &heddle_sdk::serde_json::Map<String, Value>) -> Failure {
    let line = fault.line().map_or(String::new(), |line| format!("line {line}: "));
    let said = fault
        .detail()
        .map_or_else(|| fault.kind().to_string(), |detail| format!("{}: {detail}", fault.kind()));
    match fault.kind() {
        ErrorKind::UndefinedError => {
            let names: Vec<&str> = values.keys().map(String::as_str).take(20).collect();
            let message = format!(
                "{line}{said}; `values` has {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            );
            Failure::permanent("undefined", message)
        }
        ErrorKind::SyntaxError => Failure::permanent("bad_template", format!("{line}{said}")),
        _ => Failure::permanent("not_filled", format!("{line}{said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<String, Failure> {
        template(heddle_sdk::serde_json::from_value(input).expect("an input")).map(|output| output.text)
    }

    #[test]
    fn names_conditions_and_loops() {
        let text = "{% for item in items %}{{ loop.index }}. {{ item.name | upper }}{% if not loop.last %}; {% endif %}{% endfor %}";
        let input = json!({ "template": text, "values": { "items": [{ "name": "a" }, { "name": "b" }] } });
        assert_eq!(run(input).expect("text"), "1. A; 2. B");
        let html = json!({ "template": "<p>{{ x }}</p>", "values": { "x": "<b>&" }, "escape": "html" });
        assert_eq!(run(html).expect("text"), "<p>&lt;b&gt;&amp;</p>");
        let json = json!({ "template": "{\"a\":{{ x }}}", "values": { "x": "q\"" }, "escape": "json" });
        assert_eq!(run(json).expect("text"), "{\"a\":\"q\\\"\"}");
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        let failure =
            run(json!({ "template": "a\n{{ nmae }}", "values": { "name": 1 } })).expect_err("undefined");
        assert_eq!(failure.code(), "undefined");
        assert!(
            failure.message().starts_with("line 2: ") && failure.message().ends_with("`values` has name"),
            "{}",
            failure.message()
        );
        assert_eq!(run(json!({ "template": "{{ nmae }}", "lenient": true })).expect("text"), "");
        assert_eq!(run(json!({ "template": "{% if %}" })).expect_err("syntax").code(), "bad_template");
        assert_eq!(
            run(json!({ "template": "{{ 1 | nofilter }}" })).expect_err("filter").code(),
            "not_filled"
        );
    }
}
