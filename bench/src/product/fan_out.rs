//! One run of ten thousand steps against a hundred runs over a hundred items: the same number of steps, so that only what
//! grows with the size of a run can make a difference. The large run comes in three forms: items of one list, items of
//! lists in a list, and steps of their own.

use super::node::Node;
use crate::http::Client;
use crate::load::{Asked, median};
use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::ensure;
use std::time::Instant;

/// Items of the large run, and steps of either side.
const LARGE: usize = 10_000;
/// Items of a small run.
const SMALL: usize = 100;

/// What a node needs for a workflow of ten thousand steps.
pub(super) const LIMITS: &[(&str, &str)] =
    &[("HEDDLE_LIMITS_WORKFLOW_STEPS", "10000"), ("HEDDLE_LIMITS_DOCUMENT_NODES", "250000")];
/// The same in words.
pub(super) const RAISED: &str =
    "limits.workflow_steps to 10,000 and limits.document_nodes to 250,000 for the run of 10,000 steps";

/// The large run as items of lists in a list.
const NESTED: &str = r#"
document: { dsl: "1.0", namespace: bench, name: nested, version: 1.0.0 }
input: { schema: { type: object, required: [rows], properties: { rows: { type: array, items: { type: array, items: { type: integer } } } } } }
steps:
  each:
    forEach: { in: "${ input.rows }", as: row, forEach: { in: "${ row }", as: cell } }
    call: tool:echo
    with: { value: "${ cell }" }
output: { as: { count: "${ size(steps.each.output) }" } }
"#;

const WORKFLOW: &str = r#"
document: { dsl: "1.0", namespace: bench, name: fan-out, version: 1.0.0 }
input: { schema: { type: object, required: [items], properties: { items: { type: array, items: { type: integer } } } } }
steps:
  each:
    forEach: { in: "${ input.items }", as: item }
    call: tool:echo
    with: { value: "${ item }" }
output: { as: { count: "${ size(steps.each.output) }" } }
"#;

/// Time and CPU per step.
pub(super) async fn rows(node: &Node, pace: Pace) -> anyhow::Result<Vec<Row>> {
    node.publish(WORKFLOW).await?;
    node.publish(NESTED).await?;
    node.publish(&steps()).await?;
    let small = node.run("bench/fan-out", &items(SMALL));
    let rows = vec![items_of(SMALL); LARGE / SMALL].join(",");
    let large = [
        ("fan-out of 10,000 tools", node.run("bench/fan-out", &items(LARGE))),
        ("map of 100 by 100 tools", node.run("bench/nested", &format!("{{\"rows\":[{rows}]}}"))),
        ("run of 10,000 steps", node.run("bench/steps", "{}")),
    ];
    // What is done once for a workflow is not a step's.
    per_step(node, &small, 5).await?;
    for (_, large) in &large {
        per_step(node, large, 1).await?;
    }
    let mut turns = [const { Vec::new() }; 3];
    for _ in 0..pace.rounds {
        for ((_, large), turns) in large.iter().zip(&mut turns) {
            let small = per_step(node, &small, LARGE / SMALL).await?;
            turns.push((per_step(node, large, 1).await?, small));
        }
    }
    let row = |name: String, unit, turns: Vec<(f64, f64)>| {
        let small = median(turns.iter().map(|turn| turn.1).collect());
        let ratio = median(turns.iter().map(|turn| turn.0 / turn.1).collect());
        Row::new(name, ratio * small, unit).beside(small).target(Target::RatioAtMost(1.2))
    };
    let mut rows = Vec::new();
    for ((name, _), turns) in large.iter().zip(turns) {
        let times = turns.iter().map(|(large, small)| (large.0, small.0)).collect();
        let cpus = turns.iter().map(|(large, small)| (large.1, small.1)).collect();
        rows.push(
            row(format!("{name}: time per step"), "us", times)
                .note("\"bare\" is a fan-out of 100 here, a hundred times over"),
        );
        rows.push(row(format!("{name}: server CPU per step"), "us", cpus));
    }
    Ok(rows)
}

/// A workflow of ten thousand steps that wait for nothing.
fn steps() -> String {
    let mut text =
        "document: { dsl: \"1.0\", namespace: bench, name: steps, version: 1.0.0 }\nsteps:\n".to_owned();
    for step in 0..LARGE {
        text.push_str(&format!("  s{step}: {{call: tool:echo, with: {{value: {step}}}}}\n"));
    }
    text.push_str("output: { as: { first: \"${ steps.s0.output.value }\" } }\n");
    text
}

fn items(count: usize) -> String {
    format!("{{\"items\":{}}}", items_of(count))
}
fn items_of(count: usize) -> String {
    let items: Vec<String> = (0..count).map(|item| item.to_string()).collect();
    format!("[{}]", items.join(","))
}

/// Microseconds per step, of time and of the server's CPU.
async fn per_step(node: &Node, run: &Asked, runs: usize) -> anyhow::Result<(f64, f64)> {
    let mut client = Client::connect(node.address).await?;
    let (began, cpu_ms) = (Instant::now(), node.process.cpu_ms()?);
    for _ in 0..runs {
        let document = client.send(&run.request).await?.json(&[200, 202])?;
        ensure!(document["status"] == "succeeded", "a fan-out did not succeed: {document:.2000}");
    }
    let steps = LARGE as f64;
    Ok((began.elapsed().as_secs_f64() * 1e6 / steps, (node.process.cpu_ms()? - cpu_ms) * 1e3 / steps))
}
