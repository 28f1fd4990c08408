//! What steps have spent on language models, in lines for people.

use super::paint::harmless;
use serde_json::Value;

/// A line for each step that has spent something.
pub(super) fn lines(steps: &[Value]) -> Vec<String> {
    let line = |step: &Value| {
        let spent = step["spent"].as_object()?;
        let of = |name: &str| spent.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (calls, tokens) = (of("modelCalls"), of("inputTokens") + of("outputTokens"));
        let cost = match of("costMicros") {
            0 => String::new(),
            micros => format!(", {:.4} of the operator's currency", micros as f64 / 1e6),
        };
        let word = if calls == 1 { "call" } else { "calls" };
        let id = harmless(step["id"].as_str().unwrap_or_default());
        Some(format!("spent     {id}: {calls} {word} of a model, {tokens} tokens{cost}"))
    };
    steps.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_for_each_step_that_has_spent_something() {
        let spent = |calls: u64, cost: u64| json!({ "modelCalls": calls, "inputTokens": 100, "outputTokens": 20, "costMicros": cost });
        let steps = [
            json!({ "id": "a", "spent": spent(1, 0) }),
            json!({ "id": "b" }),
            json!({ "id": "c", "spent": spent(2, 1_260) }),
        ];
        assert_eq!(
            lines(&steps),
            [
                "spent     a: 1 call of a model, 120 tokens",
                "spent     c: 2 calls of a model, 120 tokens, 0.0013 of the operator's currency",
            ]
        );
    }
}
