//! A goal in words becomes a workflow, is checked, and runs as a run of its own: by rules, with the real shelf.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, workflow};
use serde_json::{Value, json};

const TOOLS: &str =
    "[\"transform:summarize-text\", \"transform:text-chunk\", \"transform:markdown\", \"tool:echo\"]";

fn planning(server: &Server, goal: &str, input: &Value) -> Value {
    let body = format!(
        "steps:\n  plan: {{ agent: {{ use: planner, goal: {{ goal: \"${{ input.goal }}\", input: \"${{ input.input }}\" }}, tools: {TOOLS} }} }}\n  act: {{ workflow: {{ from: \"${{ steps.plan.output.workflow }}\", allow: {TOOLS} }}, with: \"${{ input.input }}\" }}\noutput: {{ as: {{ done: \"${{ steps.act.output }}\", steps: \"${{ steps.plan.output.steps }}\", left: \"${{ steps.plan.output.left }}\" }} }}"
    );
    server.run(&workflow("planning", &body), json!({ "goal": goal, "input": input }))
}

#[test]
fn a_goal_becomes_a_workflow_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::with_plugins(folder.path(), &["planner", "summarize_text", "text_chunk", "markdown", "echo"]);
    let text = "Looms weave cloth. Looms are old. A loom weaves slowly. Nobody likes rain. Cloth is woven on looms every day.";
    let goal = "Summarise the text in 2 sentences, then cut it into pieces of size 20; bake a cake";
    let run = planning(&server, goal, &json!({ "text": text }));
    assert_eq!(run["status"], "succeeded", "{run}");
    let output = &run["output"];
    assert!(output["done"]["chunks"].as_array().unwrap().len() > 1, "{output}");
    let calls: Vec<&str> =
        output["steps"].as_array().unwrap().iter().map(|step| step["call"].as_str().unwrap()).collect();
    assert_eq!(calls, ["transform:summarize-text", "transform:text-chunk"]);
    assert!(output["left"][0].as_str().unwrap().contains("bake a cake"), "{output}");
    // What it does is a run of its own.
    assert!(run["steps"][1]["attempts"][0]["run"].is_string(), "{run}");
    // Nothing that it can do: said, with what there is.
    let failed = planning(&server, "bake a cake", &json!({}));
    let error = &failed["steps"][0]["error"];
    assert_eq!((&failed["status"], &error["code"]), (&json!("failed"), &json!("no_plan")), "{failed}");
    assert!(error["message"].as_str().unwrap().contains("transform:text-chunk"), "{failed}");
}
