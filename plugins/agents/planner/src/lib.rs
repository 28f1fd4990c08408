//! A goal in words becomes a workflow, by rules and without a model: each part of the goal goes to the plugin whose words it
//! has, and what a plugin needs comes from the input, from the goal itself or from the step before. What the rules do not
//! know is said and not guessed. The workflow is run by `workflow: {from: ...}`, under the grants of whoever asked.

mod fill;
mod words;

use heddle_sdk::prelude::*;
use serde_json::Map;

use crate::fill::{Known, fill};
use crate::words::{parts, score, slug};

/// The most steps of a workflow.
const STEPS: usize = 50;
/// What a plugin's words must have in common with a part of the goal.
const ENOUGH: u32 = 2;

/// What is wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Goal {
    /// In words: `fetch https://example.com/a.md, then make pieces of it`. Parts are told apart by `then`, `;` and lines.
    goal: String,
    /// What the workflow gets as its input, by name.
    #[serde(default)]
    input: Map<String, Value>,
    /// The most steps.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = STEPS))]
    max_steps: usize,
}

fn most() -> usize {
    STEPS
}

/// A workflow, and how it came about.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Plan {
    /// The workflow, as `workflow: {from: ...}` takes it. Its input is that of the goal.
    workflow: Value,
    /// Its steps, in their order.
    steps: Vec<Planned>,
    /// What of the goal has no step, and why.
    left: Vec<String>,
    /// Who decided: `rules`.
    basis: String,
}

/// A step.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Planned {
    /// Its id.
    id: String,
    /// What it calls.
    call: String,
    /// The part of the goal that it does.
    part: String,
}

/// Plan.
///
/// Makes a workflow of a goal in words, out of the plugins that the step grants. By rules; where a model plans one day, it answers in the same form.
#[heddle_sdk::agent]
fn planner(goal: Goal, agent: &Agent) -> Result<Plan, Failure> {
    let tools: Vec<Tool> = agent.tools().into_iter().map(Tool::from).collect();
    plan(&goal, &tools)
}

/// A plugin that may be called.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    name: String,
    words: String,
    input: Value,
    output: Value,
}

impl From<heddle_sdk::ToolInfo> for Tool {
    fn from(info: heddle_sdk::ToolInfo) -> Tool {
        let words = format!("{} {}", info.title, info.description);
        Tool { name: info.name, words, input: info.input_schema, output: info.output_schema }
    }
}

fn plan(goal: &Goal, tools: &[Tool]) -> Result<Plan, Failure> {
    let (mut steps, mut planned, mut left): (Map<String, Value>, Vec<Planned>, Vec<String>) =
        Default::default();
    let mut known = Known::of(&goal.input);
    for part in parts(&goal.goal) {
        if planned.len() >= goal.max_steps {
            left.push(format!("`{part}`: the workflow has {} steps already", planned.len()));
            continue;
        }
        let scored = tools.iter().map(|tool| (score(&part, &tool.name, &tool.words), tool));
        // Of equal ones the first by name, so that the same goal is the same workflow.
        let best = scored.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.name.cmp(&a.1.name)));
        let Some((_, tool)) = best.filter(|(score, _)| *score >= ENOUGH) else {
            left.push(format!("`{part}`: no plugin that is granted says that it does this"));
            continue;
        };
        match fill(&part, tool, &known) {
            Err(missing) => left.push(format!("`{part}`: `{}` needs {}", tool.name, missing.join(", "))),
            Ok(with) => {
                let id = fresh(&tool.name, &steps);
                // What is done one after another in the goal is done so.
                let mut step = json!({ "title": part, "call": tool.name, "with": with });
                if let Some(before) = planned.last() {
                    step["dependsOn"] = json!([before.id]);
                }
                steps.insert(id.clone(), step);
                known.add(&id, &tool.output);
                planned.push(Planned { id, call: tool.name.clone(), part });
            }
        }
    }
    let Some(last) = planned.last() else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let told =
            format!("no part of the goal has a step: {}; granted are {}", left.join("; "), names.join(", "));
        return Err(Failure::permanent("no_plan", told));
    };
    let workflow = json!({
        "document": { "dsl": "1.0", "namespace": "planned", "name": slug(&goal.goal), "version": "1.0.0", "title": goal.goal.chars().take(200).collect::<String>() },
        "steps": steps,
        "output": { "as": format!("${{ steps.{}.output }}", last.id) },
    });
    Ok(Plan { workflow, steps: planned, left, basis: "rules".to_owned() })
}

/// An id that no step has yet.
fn fresh(tool: &str, steps: &Map<String, Value>) -> String {
    let base = slug(tool.split(':').next_back().unwrap_or(tool)).replace('-', "_");
    let numbered = (2..).map(|number| format!("{base}_{number}"));
    std::iter::once(base.clone()).chain(numbered).find(|id| !steps.contains_key(id)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, words: &str, input: Value, output: Value) -> Tool {
        Tool { name: name.to_owned(), words: words.to_owned(), input, output }
    }
    fn shelf() -> Vec<Tool> {
        let text = || json!({ "type": "object", "required": ["text"], "properties": { "text": { "type": "string" }, "size": { "type": "integer" }, "sentences": { "type": "integer" } } });
        vec![
            tool(
                "tool:http-fetch",
                "Fetch. Sends one HTTP request.",
                json!({ "required": ["url"], "properties": { "url": { "type": "string" } } }),
                json!({ "properties": { "status": { "type": "integer" }, "body": { "type": "string" } } }),
            ),
            tool(
                "transform:summarize-text",
                "Summarise a text. Keeps the sentences that say most.",
                text(),
                json!({ "properties": { "summary": { "type": "string" }, "words": { "type": "integer" } } }),
            ),
            tool(
                "transform:text-chunk",
                "Cut a text into pieces.",
                text(),
                json!({ "properties": { "chunks": { "type": "array" } } }),
            ),
        ]
    }
    fn goal(text: &str, input: Value) -> Goal {
        Goal { goal: text.to_owned(), input: input.as_object().cloned().unwrap_or_default(), max_steps: 50 }
    }

    #[test]
    fn a_goal_in_parts_becomes_steps_in_their_order() {
        let made = plan(&goal("Fetch https://example.com/a.md, then summarise the text in 3 sentences; cut it into pieces of size 20.", json!({})), &shelf()).unwrap();
        let calls: Vec<&str> = made.steps.iter().map(|step| step.call.as_str()).collect();
        assert_eq!(
            calls,
            ["tool:http-fetch", "transform:summarize-text", "transform:text-chunk"],
            "{made:?}"
        );
        let steps = &made.workflow["steps"];
        assert_eq!(steps["http_fetch"]["with"], json!({ "url": "https://example.com/a.md" }));
        assert_eq!(
            steps["summarize_text"]["with"],
            json!({ "text": "${ steps.http_fetch.output.body }", "sentences": 3 })
        );
        assert_eq!(
            steps["text_chunk"]["with"],
            json!({ "text": "${ steps.summarize_text.output.summary }", "size": 20 })
        );
        assert_eq!(made.workflow["output"]["as"], "${ steps.text_chunk.output }");
        assert!(made.left.is_empty());
    }

    #[test]
    fn what_the_rules_do_not_know_is_said() {
        let made =
            plan(&goal("summarise the text then bake a cake", json!({ "text": "A. B." })), &shelf()).unwrap();
        assert_eq!(made.workflow["steps"]["summarize_text"]["with"]["text"], "${ input.text }");
        assert!(made.left[0].contains("bake a cake"), "{made:?}");
        let failed = plan(&goal("bake a cake", json!({})), &shelf()).unwrap_err().detail().message.clone();
        assert!(failed.contains("bake a cake"), "{failed}");
        let missing =
            plan(&goal("fetch the page", json!({})), &shelf()).unwrap_err().detail().message.clone();
        assert!(missing.contains("needs `url`"), "{missing}");
    }

    #[test]
    fn words_of_a_goal_are_no_expressions() {
        let said = plan(&goal("summarise \"${ input.secret }\"", json!({})), &shelf())
            .unwrap_err()
            .detail()
            .message
            .clone();
        assert!(said.contains("needs `text`"), "{said}");
        let one = plan(&goal("summarise \"plain\"", json!({})), &shelf()).unwrap();
        assert_eq!(one.workflow["steps"]["summarize_text"]["with"]["text"], "plain");
    }

    #[test]
    fn the_same_plugin_twice_and_no_more_steps_than_may_be() {
        let many =
            Goal { max_steps: 2, ..goal("summarise it; summarise it; summarise it", json!({ "text": "x" })) };
        let made = plan(&many, &shelf()).unwrap();
        assert_eq!(
            made.steps.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(),
            ["summarize_text", "summarize_text_2"]
        );
        assert_eq!(made.left.len(), 1);
    }
}
