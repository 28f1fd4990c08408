//! One run over ten thousand items against a hundred runs over a hundred: the same number of steps, so that only what
//! grows with the size of a run can make a difference.

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
    let (large, small) = (node.run("bench/fan-out", &items(LARGE)), node.run("bench/fan-out", &items(SMALL)));
    per_step(node, &small, 5).await?;
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..pace.rounds {
        let small = per_step(node, &small, LARGE / SMALL).await?;
        let large = per_step(node, &large, 1).await?;
        times.push((large.0, small.0));
        cpus.push((large.1, small.1));
    }
    let row = |name: &str, unit, turns: &[(f64, f64)]| {
        let small = median(turns.iter().map(|turn| turn.1).collect());
        let ratio = median(turns.iter().map(|turn| turn.0 / turn.1).collect());
        Row::new(name, ratio * small, unit).beside(small).target(Target::RatioAtMost(1.2))
    };
    Ok(vec![
        row("fan-out of 10,000 tools: time per step", "us", &times)
            .note("\"bare\" is a fan-out of 100 here, a hundred times over"),
        row("fan-out of 10,000 tools: server CPU per step", "us", &cpus),
    ])
}

fn items(count: usize) -> String {
    let items: Vec<String> = (0..count).map(|item| item.to_string()).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
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
